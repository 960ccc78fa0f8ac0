package token

import (
	"encoding/json"
	"fmt"
	"time"
)

// Versions of the exec plugin's API,
// https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
const (
	execV1      = "client.authentication.k8s.io/v1"
	execV1Beta1 = "client.authentication.k8s.io/v1beta1"
)

// execInfo is what kubectl says in KUBERNETES_EXEC_INFO, as far as it matters
// here.
type execInfo struct {
	APIVersion string `json:"apiVersion"`
	Spec       struct {
		Interactive *bool `json:"interactive"`
	} `json:"spec"`
}

type execCredential struct {
	Kind       string     `json:"kind"`
	APIVersion string     `json:"apiVersion"`
	Spec       struct{}   `json:"spec"`
	Status     execStatus `json:"status"`
}

type execStatus struct {
	ExpirationTimestamp string `json:"expirationTimestamp"`
	Token               string `json:"token"`
}

// ExecCredential returns the token as the ExecCredential that an exec plugin
// prints, in JSON. The value of KUBERNETES_EXEC_INFO decides the version: v1 or
// v1beta1 as asked for, and v1beta1 if it is empty or does not parse, as with
// aws-iam-authenticator. Any other version is an error.
func ExecCredential(tok Token, info string) ([]byte, error) {
	version := parseExecInfo(info).APIVersion
	switch version {
	case execV1, execV1Beta1:
	case "":
		version = execV1Beta1
	default:
		return nil, fmt.Errorf("KUBERNETES_EXEC_INFO: apiVersion %q is not supported; have the kubeconfig's exec section say %s", clip(version), execV1)
	}
	b, err := json.Marshal(execCredential{
		Kind:       "ExecCredential",
		APIVersion: version,
		Status: execStatus{
			ExpirationTimestamp: tok.Expiry.UTC().Truncate(time.Second).Format(time.RFC3339),
			Token:               tok.Value,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("encode ExecCredential: %w", err)
	}
	return b, nil
}

// Interactive tells whether a user can be asked something, going by the value
// of KUBERNETES_EXEC_INFO: kubectl says if its standard input is not for the
// plugin. Without it the program runs by hand, and its input is its own.
func Interactive(info string) bool {
	i := parseExecInfo(info).Spec.Interactive
	return i == nil || *i
}

// parseExecInfo reads KUBERNETES_EXEC_INFO; what does not parse counts as
// empty.
func parseExecInfo(info string) execInfo {
	var out execInfo
	if err := json.Unmarshal([]byte(info), &out); err != nil {
		return execInfo{}
	}
	return out
}

// clip shortens what came from outside, for an error message.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
