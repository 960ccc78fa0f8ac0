// Package workflow is what the commands do, as named steps: create a cluster,
// upgrade it, describe it, delete it. Whoever can type a command can also call
// it from Go.
//
// Each step can be run again. A command that was killed is carried on by the
// same command, and what is right already is left alone.
package workflow
