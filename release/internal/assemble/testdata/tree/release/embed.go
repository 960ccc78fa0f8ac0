// Package release has the manifest built in.
package release

import _ "embed"

// Capiam is the document of our own artefacts.
//
//go:embed capiam.yaml
var Capiam string
