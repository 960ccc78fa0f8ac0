package v1alpha1

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/capiam/capiam/pkg/iam"
)

var (
	clusterID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$`)
	// issuerLabel is the first label of an issuer's host: a UUID.
	issuerLabel = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

// Validate returns what is wrong with the object in the cluster it belongs to,
// defaults filled in.
func (c *AWSIamConfig) Validate(cluster *Cluster) []Problem {
	var p problems
	if message := CheckObjectName(c.Name); message != "" {
		p.errorf("metadata.name", "%s", message)
	}
	s := &c.Spec
	partition, known := iam.LookupPartition(s.Partition)
	if !known {
		p.errorf("spec.partition", "unknown partition %q (one of %s)", clip(s.Partition), strings.Join(iam.PartitionIDs(), ", "))
	}
	s.validateRegion(&p, partition, known)
	s.validateBackends(&p)
	if s.ClusterID != "" && !clusterID.MatchString(s.ClusterID) {
		p.errorf("spec.clusterID", "%q: want at most 128 letters, digits and ._:/@-, starting with a letter or digit", clip(s.ClusterID))
	}
	s.validateTokens(&p, cluster)
	s.validateIssuers(&p, cluster, partition, known)
	s.validateAudiences(&p)
	s.validateServer(&p, cluster)
	if known {
		c.validateMappings(&p)
	}
	return p
}

// directions are the words that stand before the number in regions' names.
var directions = []string{
	"north", "south", "east", "west", "central",
	"northeast", "northwest", "southeast", "southwest",
}

func (s *AWSIamConfigSpec) validateRegion(p *problems, partition iam.Partition, known bool) {
	const field = "spec.awsRegion"
	region := s.AWSRegion
	if region == "" {
		p.errorf(field, "required: the region whose STS answers for tokens, such as us-west-2")
		return
	}
	if owner, ok := iam.PartitionOfRegion(region); ok {
		if known && owner.ID != partition.ID {
			p.errorf(field, "%s belongs to partition %s, and spec.partition is %s: change one of them", region, owner.ID, partition.ID)
		}
		return
	}
	if lower := strings.ToLower(strings.TrimSpace(region)); lower != region {
		if _, ok := iam.PartitionOfRegion(lower); ok {
			p.errorf(field, "%q: write %q", clip(region), lower)
			return
		}
	}
	// AWS opens regions between two releases of capiam, so a name made of the
	// usual words is let through; a slip of the pen is not.
	words := strings.Split(region, "-")
	if !iam.LooksLikeRegion(region) || len(words) < 3 || !slices.Contains(directions, words[len(words)-2]) {
		p.errorf(field, "%q is no AWS region: want one such as us-west-2", clip(region))
		return
	}
	p.warnf(field, "%s is no region this version knows: check the spelling, unless it is newer", region)
}

// legacyBackends are aws-iam-authenticator's older names.
var legacyBackends = map[string]string{"File": BackendMountedFile, "ConfigMap": BackendEKSConfigMap}

func (s *AWSIamConfigSpec) validateBackends(p *problems) {
	const field = "spec.backendMode"
	known := []string{BackendEKSConfigMap, BackendCRD, BackendMountedFile, BackendDynamicFile}
	list := strings.Join(known, ", ")
	if len(s.BackendMode) == 0 {
		p.errorf(field, "required: a list of where mappings are read from, such as [%s]", BackendEKSConfigMap)
		return
	}
	seen := make(map[string]int)
	allKnown := true
	for i, mode := range s.BackendMode {
		at := fmt.Sprintf("%s[%d]", field, i)
		if first, dup := seen[mode]; dup {
			p.errorf(at, "%s is listed twice, first at %s[%d]: remove one", clip(mode), field, first)
			continue
		}
		seen[mode] = i
		if slices.Contains(known, mode) {
			continue
		}
		allKnown = false
		j := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, mode) })
		switch {
		case j >= 0:
			p.errorf(at, "unknown backend %q: names are case-sensitive, write %s", mode, known[j])
		case legacyBackends[mode] != "":
			p.errorf(at, "%q is an old name: write %s", mode, legacyBackends[mode])
		default:
			p.errorf(at, "unknown backend %q (one of %s)", clip(mode), list)
		}
	}
	if allKnown && !slices.Contains(s.BackendMode, BackendEKSConfigMap) && !slices.Contains(s.BackendMode, BackendCRD) && s.hasMappings() {
		p.errorf(field, "nothing would read this spec's mappings: add %s or %s", BackendEKSConfigMap, BackendCRD)
	}
}

// validateTokens checks which kinds of token come in, and that something can
// make and check them.
func (s *AWSIamConfigSpec) validateTokens(p *problems, cluster *Cluster) {
	const field = "spec.tokens"
	seen := make(map[string]bool)
	for i, kind := range s.Tokens {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case kind != TokenPresigned && kind != TokenJWT:
			p.errorf(at, "unknown kind of token %q (one of %s, %s)", clip(kind), TokenPresigned, TokenJWT)
		case seen[kind]:
			p.errorf(at, "%s is listed twice: remove one", kind)
		}
		seen[kind] = true
	}
	if s.Server.Implementation != ImplementationCapiam {
		return
	}
	switch {
	case s.TakesJWT() && len(s.TokenIssuers) == 0 && !cluster.IsLocal():
		p.errorf(field, "%s needs spec.tokenIssuers: list the issuer of each account", TokenJWT)
	case !s.TakesJWT() && len(s.TokenIssuers) > 0 && !cluster.IsLocal():
		p.errorf(field, "spec.tokenIssuers are given and %s is not listed: add it, or remove the issuers", TokenJWT)
	}
	if !s.TakesPresigned() && s.TakesJWT() && s.Client.Command != ClientCapiam {
		p.errorf("spec.client.command", "%s makes presigned tokens, which spec.tokens leaves out: write %s", s.Client.Command, ClientCapiam)
	}
}

func (s *AWSIamConfigSpec) validateIssuers(p *problems, cluster *Cluster, partition iam.Partition, known bool) {
	const field = "spec.tokenIssuers"
	if len(s.TokenIssuers) == 0 {
		return
	}
	if cluster.IsLocal() {
		p.warnf(field, "not supported by capiam on a local cluster and left alone: it brings its own issuers")
	}
	if known && partition.TokenIssuerSuffix == "" {
		p.errorf(field, "AWS has no token issuers in partition %s: remove them", partition.ID)
		known = false
	}
	urls, accounts := make(map[string]int), make(map[string]int)
	for i, issuer := range s.TokenIssuers {
		at := fmt.Sprintf("%s[%d]", field, i)
		if message := checkIssuerURL(issuer.IssuerURL, partition, known); message != "" {
			p.errorf(at+".issuerURL", "%s", message)
		} else if first, dup := urls[issuer.IssuerURL]; dup {
			p.errorf(at+".issuerURL", "the same as %s[%d]: an issuer belongs to one account", field, first)
		} else {
			urls[issuer.IssuerURL] = i
		}
		switch first, dup := accounts[issuer.AccountID]; {
		case issuer.AccountID == "":
			p.errorf(at+".accountID", "required: the account's twelve digits")
		case !iam.IsAccountID(issuer.AccountID):
			p.errorf(at+".accountID", "%q: want the account's twelve digits", clip(issuer.AccountID))
		case dup:
			p.errorf(at+".accountID", "the same as %s[%d]: an account has one issuer", field, first)
		default:
			accounts[issuer.AccountID] = i
		}
	}
}

// checkIssuerURL says what is wrong with an issuer, or returns nothing. The
// authenticator compares issuers letter by letter, so there is one spelling.
func checkIssuerURL(issuer string, partition iam.Partition, known bool) string {
	if issuer == "" {
		return "required: what \"aws iam get-outbound-web-identity-federation-info\" shows"
	}
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Sprintf("%q: want a URL that starts with https://", clip(issuer))
	}
	if "https://"+u.Host != issuer {
		return fmt.Sprintf("%q: want https:// and a host name, with nothing after it", clip(issuer))
	}
	if !known {
		return ""
	}
	label, suffix, _ := strings.Cut(u.Host, ".")
	if suffix != partition.TokenIssuerSuffix || !issuerLabel.MatchString(label) {
		return fmt.Sprintf("%q: an issuer in partition %s is https://<uuid>.%s, in lower case", clip(issuer), partition.ID, partition.TokenIssuerSuffix)
	}
	return ""
}

func (s *AWSIamConfigSpec) validateAudiences(p *problems) {
	const field = "spec.audiences"
	if len(s.Audiences) > 0 && !s.TakesJWT() {
		p.warnf(field, "without effect: only a JWT has an audience, and none may log in")
	}
	seen := make(map[string]int)
	for i, audience := range s.Audiences {
		at := fmt.Sprintf("%s[%d]", field, i)
		first, dup := seen[audience]
		switch {
		case audience == "":
			p.errorf(at, "must not be empty")
		case len(audience) > 1000:
			p.errorf(at, "has %d characters: AWS allows 1000", len(audience))
		case dup:
			p.errorf(at, "the same as %s[%d]: remove one", field, first)
		}
		if !dup {
			seen[audience] = i
		}
	}
}

func (s *AWSIamConfigSpec) validateServer(p *problems, cluster *Cluster) {
	const field = "spec.server.implementation"
	switch s.Server.Implementation {
	case ImplementationCapiam:
	case ImplementationAWSIAMAuthenticator:
		if cluster.IsLocal() {
			p.errorf(field, "a local cluster runs no containers, so only %s can serve it", ImplementationCapiam)
		}
		if len(s.TokenIssuers) > 0 || s.TakesJWT() {
			p.errorf(field, "%s takes no JWTs: use %s, or remove spec.tokenIssuers and %s from spec.tokens", ImplementationAWSIAMAuthenticator, ImplementationCapiam, TokenJWT)
		}
		if len(s.SSORoles) > 0 {
			p.warnf("spec.ssoRoles", "%s honours them only with its feature gate SSORoleMatch, lets a permission set Admin in as Admin_Extra too, and never matches one with a partition", ImplementationAWSIAMAuthenticator)
		}
	default:
		p.errorf(field, "unknown implementation %q (one of %s, %s)", clip(s.Server.Implementation), ImplementationCapiam, ImplementationAWSIAMAuthenticator)
	}
	if s.Server.Image != "" {
		if strings.ContainsAny(s.Server.Image, " \t\r\n") {
			p.errorf("spec.server.image", "%q: an image's name has no blanks", clip(s.Server.Image))
		} else if cluster.IsLocal() {
			p.warnf("spec.server.image", "not supported by capiam on a local cluster and left alone: it runs no containers")
		}
	}
	commands := []string{ClientAWSIAMAuthenticator, ClientAWS, ClientCapiam}
	if !slices.Contains(commands, s.Client.Command) {
		p.errorf("spec.client.command", "unknown command %q (one of %s)", clip(s.Client.Command), strings.Join(commands, ", "))
	}
}
