# Black Swan. `make` alone tells what there is.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
BIN         := bin/blackswan
FUZZTIME    ?= 10s
COUNT       ?= 6
PAIRS       ?= 5

.DEFAULT_GOAL := help
.PHONY: help build demo test lint mutate bench bench-esp bench-gap bench-storm sim fuzz cover clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

build: ## the program, as bin/blackswan
	go build -trimpath -o $(BIN) ./cmd/blackswan

demo: ## kill a gateway and watch its clients come back
	go run ./cmd/blackswan demo

test: ## every test that this machine allows; as root on Debian with real peers
	@.ci/test

lint: ## gofmt, go vet, staticcheck
	@.ci/lint

mutate: ## break every marked line of docs/rfc in turn: its test must fail
	go run ./internal/mutate -all

bench: ## benchmarks, COUNT runs each, summed up
	@mkdir -p bin
	go test -run '^$$' -bench . -benchmem -count $(COUNT) ./ike ./ticket ./qcd ./spi ./esp ./wire ./internal/suite | tee bin/bench.txt
	go tool -modfile=tools/go.mod benchstat bin/bench.txt

bench-esp: ## as root on Debian: our tunnel against wireguard-go's, PAIRS times
	@interop/bench ESP $(PAIRS)

bench-gap: ## as root on Debian: how long a ping through the tunnel lacks a killed gateway, 20 times
	@interop/bench Gap 20

bench-storm: ## the storm's table, CLIENTS of them (100000); as root on Debian beside strongSwan
	@.ci/bench-storm

sim: ## days and weeks of many SAs, with real key agreement and many seeds
	go test -count=1 -timeout 60m -v -run 'TestDay|TestWeek' ./internal/sim -real
	go test -count=1 -timeout 60m ./internal/sim -long 10

fuzz: ## every fuzz target for FUZZTIME
	@.ci/fuzz $(FUZZTIME)

cover: ## which lines the tests reach
	@mkdir -p bin
	go test -coverprofile=bin/cover.out $$(go list ./... | grep -v /interop)
	go tool cover -func=bin/cover.out | tail -1
	go tool cover -html=bin/cover.out -o bin/cover.html

clean: ## what the targets above have made
	rm -rf bin
