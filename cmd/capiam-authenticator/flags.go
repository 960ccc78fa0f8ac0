package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// given are the flags that the command line sets, with their values: they are
// put back after the configuration file has been read into the same settings.
type given []givenFlag

type givenFlag struct {
	flag *pflag.Flag
	text string
	list []string
}

func givenFlags(cmd *cobra.Command) given {
	var all given
	cmd.Flags().Visit(func(f *pflag.Flag) {
		g := givenFlag{flag: f, text: f.Value.String()}
		if l, ok := f.Value.(pflag.SliceValue); ok {
			g.list = l.GetSlice()
		}
		all = append(all, g)
	})
	return all
}

func (all given) has(name string) bool {
	for _, g := range all {
		if g.flag.Name == name {
			return true
		}
	}
	return false
}

func (all given) restore() error {
	for _, g := range all {
		var err error
		switch v := g.flag.Value.(type) {
		case pflag.SliceValue:
			err = v.Replace(g.list)
		default:
			err = v.Set(g.text)
		}
		if err != nil {
			return fmt.Errorf("--%s: %w", g.flag.Name, err)
		}
	}
	return nil
}
