// Package config is the authenticator's configuration: the YAML file it reads,
// which is aws-iam-authenticator's own with a few keys more, and the settings
// that come out of file, environment and flags.
//
// Reading is strict. A key that is unknown, given twice, of the wrong type or
// known but not honoured is an error that names file and line, and all of them
// are reported at once. Keys are compared without regard to case, as the
// original does.
//
// The authenticator's command loads it; pkg/render writes it with Encode.
package config
