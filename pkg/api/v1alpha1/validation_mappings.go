package v1alpha1

import (
	"fmt"
	"slices"
	"strings"

	"github.com/capiam/capiam/pkg/mapping"
)

func (s *AWSIamConfigSpec) hasMappings() bool {
	return len(s.MapRoles)+len(s.MapUsers)+len(s.SSORoles)+len(s.MapAccounts) > 0
}

// validateMappings holds the mappings against the rules the authenticator goes
// by, which are package mapping's, and adds what only a spec can know.
func (c *AWSIamConfig) validateMappings(p *problems) {
	s := &c.Spec
	if !s.hasMappings() {
		p.warnf("spec", "nobody is mapped, so nobody can log in through IAM")
	}
	jwtOnly := s.TakesJWT() && !s.TakesPresigned()
	opts := mapping.CheckOptions{Partition: s.Partition, JWTOnly: jwtOnly}
	for _, problem := range mapping.Check(c.Mappings(), opts) {
		*p = append(*p, Problem{
			Field:   s.fieldOf(problem.Section, problem.Index, problem.Field),
			Message: s.nameSSORoles(problem.Message),
			Warning: problem.Warning,
		})
	}
	c.checkSessions(p, s.TakesJWT() && s.TakesPresigned())
}

// mappingFields are the names a spec has for what package mapping calls
// otherwise.
var mappingFields = map[string]string{
	"sso.accountID":         "accountID",
	"sso.permissionSetName": "permissionSetName",
	"sso":                   "",
}

// fieldOf returns the path in the spec of a place in the mapping table. In the
// table, the roles of ssoRoles stand behind those of mapRoles.
func (s *AWSIamConfigSpec) fieldOf(section string, index int, field string) string {
	switch {
	case section == "":
		return "spec"
	case index < 0:
		return "spec." + section
	}
	arnField := "userARN"
	if section == mapping.MapRoles {
		arnField = "roleARN"
		if index >= len(s.MapRoles) {
			section, index = "ssoRoles", index-len(s.MapRoles)
			arnField = "permissionSetName"
		}
	}
	if name, ok := mappingFields[field]; ok {
		field = name
	} else if field == "arn" {
		field = arnField
	}
	path := fmt.Sprintf("spec.%s[%d]", section, index)
	if field != "" {
		path += "." + field
	}
	return path
}

// nameSSORoles writes a place behind mapRoles, in a message of package mapping,
// as the place under ssoRoles that it is in the spec.
func (s *AWSIamConfigSpec) nameSSORoles(message string) string {
	for i := range s.SSORoles {
		place := fmt.Sprintf("%s[%d]", mapping.MapRoles, len(s.MapRoles)+i)
		if strings.Contains(message, place) {
			return strings.Replace(message, place, fmt.Sprintf("ssoRoles[%d]", i), 1)
		}
	}
	return message
}

// checkSessions finds entries with variables that only a role's session can
// fill: no IAM user has one, and no JWT tells it. Where only JWTs come in,
// package mapping refuses them; warnJWT is set where both kinds of token do.
func (c *AWSIamConfig) checkSessions(p *problems, warnJWT bool) {
	entry := func(field, text string, isUser bool) {
		t, err := mapping.ParseTemplate(text)
		if err != nil {
			return // reported by mapping.Check
		}
		for _, v := range t.Variables() {
			ofSession := slices.Contains([]string{mapping.VarSessionName, mapping.VarSessionNameRaw, mapping.VarEC2PrivateDNSName}, v)
			switch {
			case isUser && ofSession:
				p.errorf(field, "{{%s}} comes from a role's session, and an IAM user has none", v)
			case warnJWT && v != mapping.VarAccountID && v != mapping.VarEC2PrivateDNSName:
				p.warnf(field, "{{%s}} is not in a JWT: this identity logs in with presigned tokens only", v)
			}
		}
	}
	each := func(field, username string, groups []string, isUser bool) {
		entry(field+".username", username, isUser)
		for i, group := range groups {
			entry(fmt.Sprintf("%s.groups[%d]", field, i), group, isUser)
		}
	}
	for i, r := range c.Spec.MapRoles {
		each(fmt.Sprintf("spec.mapRoles[%d]", i), r.Username, r.Groups, false)
	}
	for i, r := range c.Spec.SSORoles {
		each(fmt.Sprintf("spec.ssoRoles[%d]", i), r.Username, r.Groups, false)
	}
	for i, u := range c.Spec.MapUsers {
		each(fmt.Sprintf("spec.mapUsers[%d]", i), u.Username, u.Groups, true)
	}
}
