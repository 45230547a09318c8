package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"blackswan"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Long: "Prints the version.\n" + exitCodes, Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			v := struct {
				Version  string `json:"version"`
				Revision string `json:"revision,omitempty"`
				Go       string `json:"go"`
			}{blackswan.Version, revision(), runtime.Version()}
			text := "blackswan " + v.Version
			if v.Revision != "" {
				text += " (" + v.Revision + ")"
			}
			return print(c, v, fmt.Sprintf("%s, %s\n", text, v.Go))
		},
	}
}

// revision is the commit that the program was built from, "" if unknown.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(len(s.Value), 12)]
		}
	}
	return ""
}
