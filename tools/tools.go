// Package tools holds the versions of the tools that the Makefile runs: the
// linter and the judge of benchmarks. It is a module of its own, so that none
// of them is ever a dependency of the program.
package tools
