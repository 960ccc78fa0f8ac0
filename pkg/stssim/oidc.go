package stssim

import (
	"net/http"
)

// serveIssuer answers for an account's token issuer: its discovery document and
// its public keys.
func (s *Server) serveIssuer(w http.ResponseWriter, r *http.Request, host, account string) {
	action := "Unknown"
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		action = ActionDiscovery
	case "/.well-known/jwks.json":
		action = ActionKeys
	}
	s.counts.request(action)
	if s.fault(w, r, host, action) {
		return
	}
	if action == "Unknown" {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if action == ActionDiscovery {
		writeJSON(w, http.StatusOK, "", discovery("https://"+host))
		return
	}
	writeJSON(w, http.StatusOK, "", map[string][]jwk{"keys": s.state.publicKeys(account)})
}

// discoveryDocument is an issuer's openid-configuration.
type discoveryDocument struct {
	Issuer        string   `json:"issuer"`
	JWKSURI       string   `json:"jwks_uri"`
	ResponseTypes []string `json:"response_types_supported"`
	SubjectTypes  []string `json:"subject_types_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	Claims        []string `json:"claims_supported"`
}

func discovery(issuer string) discoveryDocument {
	return discoveryDocument{
		Issuer:        issuer,
		JWKSURI:       issuer + "/.well-known/jwks.json",
		ResponseTypes: []string{"id_token"},
		SubjectTypes:  []string{"public"},
		Algorithms:    []string{algRS256, algES384},
		Claims:        []string{"iss", "aud", "sub", "iat", "exp", "jti"},
	}
}

// publicKeys returns the keys the account's issuer publishes.
func (s *State) publicKeys(account string) []jwk {
	s.mu.RLock()
	defer s.mu.RUnlock()
	keys := []jwk{}
	if is := s.data.Issuers[account]; is != nil {
		for _, k := range is.Keys {
			keys = append(keys, k.public())
		}
	}
	return keys
}
