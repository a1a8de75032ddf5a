SHELL := /bin/bash
.DEFAULT_GOAL := help

# Tools are built at pinned versions into a folder that git ignores.
BIN := $(CURDIR)/.cache/bin
LINT_VERSION := 2.15.0
LINT := $(BIN)/golangci-lint
TESTSUM_VERSION := 1.13.0
TESTSUM := $(BIN)/gotestsum

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# What the tests run against, and the backends whose conformance must be shown.
SERVERS := postgres pgbouncer s3 supabase duckdb prometheus alertmanager
BACKENDS := sqlite disk postgres postgres-pgbouncer s3 supabase \
	disk-objects s3-objects supabase-objects archive-duckdb \
	killsweep-sqlite-disk killsweep-postgres-s3 lying-stores prometheus alertmanager

FUZZTIME ?= 20s
ARGS ?=

.PHONY: help build demo test lint check bench bench-compare fuzz killsweep ci tools

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build ./bin/exportops, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/exportops ./cmd/exportops

demo: build ## the whole life of an export on this machine (ARGS="..." goes to it)
	./bin/exportops demo $(ARGS)

test: tools ## every test, under the race detector; installs what it needs beside Go
	scripts/setup
	scripts/servers $(SERVERS) -- scripts/test $(BACKENDS)

lint: tools ## formatting, imports, static analysis
	$(LINT) run ./...

check: lint test ## what every commit must pass

bench: ## every benchmark, with allocations
	scripts/setup
	EXPORTOPS_TEST_DURABLE=1 scripts/servers $(SERVERS) -- go test -run '^$$' -bench . -benchmem ./...

bench-compare: ## whole cleanups beside find -delete and DELETE in sqlite3 (ARGS="files" or "logs" for one)
	scripts/compare.sh $(ARGS)

fuzz: ## every fuzz target for FUZZTIME (20s)
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do \
		for f in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | cut -c6-); do \
			echo "$$dir $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$dir; \
		done; \
	done

killsweep: ## every job killed at every system call that leaves something, on real backends (JOB=hold for one, FROM=100 to go on)
	scripts/setup
	EXPORTOPS_KILLSWEEP=$(if $(FROM),from=$(FROM),full) scripts/servers postgres s3 -- \
		go test -count=1 -timeout 24h -v -run '/^$(or $(JOB),.*)$$' ./internal/killsweep

ci: ## what the build server runs
	.ci/run

tools:
	@$(LINT) version 2>/dev/null | grep -q 'version $(LINT_VERSION) ' || \
		GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(LINT_VERSION)
	@$(TESTSUM) --version 2>/dev/null | grep -q 'version v$(TESTSUM_VERSION)$$' || \
		GOBIN=$(BIN) go install gotest.tools/gotestsum@v$(TESTSUM_VERSION)
