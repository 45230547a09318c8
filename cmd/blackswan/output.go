package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"
)

// wantsJSON reports whether --json was given.
func wantsJSON(c *cobra.Command) bool {
	on, err := c.Flags().GetBool("json")
	return err == nil && on
}

// print writes result as JSON, or else the text.
func print(c *cobra.Command, result any, text string) error {
	if !wantsJSON(c) {
		_, err := fmt.Fprint(c.OutOrStdout(), text)
		return err
	}
	out := json.NewEncoder(c.OutOrStdout())
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(result)
}

// logger writes to stderr: text for people, or JSON.
func logger(c *cobra.Command) *slog.Logger {
	var h slog.Handler = slog.NewTextHandler(c.ErrOrStderr(), nil)
	if wantsJSON(c) {
		h = slog.NewJSONHandler(c.ErrOrStderr(), nil)
	}
	return slog.New(h)
}

// verdict is the report of clients that were to come back.
type verdict interface {
	Write(w io.Writer) error
	OK() bool // all resumed
}

// judged prints a report, and fails when not every client resumed.
func judged(c *cobra.Command, report verdict) error {
	var err error
	if wantsJSON(c) {
		err = print(c, report, "")
	} else {
		err = report.Write(c.OutOrStdout())
	}
	if err == nil && !report.OK() {
		err = coded{exitDemo, errNotAll}
	}
	return err
}
