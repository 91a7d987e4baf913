# The verbs of this project; CI runs the same ones. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

LAB := $(or $(DRCTL_LAB),$(HOME)/.cache/drctl)
export CARGO_TARGET_DIR ?= $(LAB)/target
export CARGO_TERM_COLOR ?= auto
SCRIPTS := $(shell git ls-files --cached --others --exclude-standard '*.sh') .ci/run
DENY := $(LAB)/bin/cargo-deny

.PHONY: help test check lint lab docs demo bench audit dist cluster install cluster-down image chart manifests clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 20

test: ## everything: lints, licences, unit tests, tests on real servers; says what it skipped
	@tests/lab/setup.sh
	@$(MAKE) --no-print-directory lint
	@tests/chart/check.sh
	@tests/lab/run-tests.sh

check: ## the quick loop: types, lints and unit tests, no servers
	cargo fmt --check
	cargo clippy --all-targets --quiet -- -D warnings
	cargo test --quiet --lib

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets --quiet -- -D warnings
	if [ -x $(DENY) ]; then $(DENY) --log-level error check bans licenses sources; else echo 'SKIPPED cargo-deny: not in the lab'; fi
	if command -v shellcheck >/dev/null; then shellcheck -x $(SCRIPTS); else echo 'SKIPPED shellcheck: not installed'; fi

lab: ## get what the tests and the demo need (idempotent)
	@tests/lab/setup.sh

docs: ## write docs/config.md, docs/report.schema.json, the chart's README and its schema anew
	DRCTL_WRITE_DOCS=1 cargo test --quiet --lib -- the_documentation_is_made the_published_schema_is
	@tests/chart/tool.sh docs chart docs/config.schema.json

demo: ## back up, damage, restore and prove a real server, in under a minute once built
	@tests/lab/setup.sh --needed packages mysql templates
	cargo build --locked --release --quiet
	@tests/demo/demo.sh

bench: ## the figures of docs/performance.md; BENCH="--rows 100000 backup" narrows it
	@tests/lab/setup.sh bench
	cargo build --locked --release --quiet
	@tests/bench/bench.sh $(BENCH)

audit: ## known vulnerabilities of the dependencies (needs the advisory database from outside)
	@tests/lab/setup.sh --needed deny
	$(DENY) check advisories

dist: ## the binary that is shipped: slower to build, smaller
	cargo build --locked --profile dist
	@ls -l $(CARGO_TARGET_DIR)/dist/drctl

cluster: image ## a Kubernetes on this machine, as root; KUBECONFIG at its end (tests/cluster/README.md)
	@tests/cluster/up.sh

install: ## the whole stack on that cluster, with data, a backup and its proof; says where everything is
	@tests/cluster/install.sh

cluster-down: ## end it: nothing of it stays
	@tests/cluster/down.sh

image: ## drctl's image and the others of the cluster, with an SBOM; a running cluster gets them (DRCTL_BINARY: that drctl)
	@[ -x $(LAB)/bin/kubernetes ] || echo 'The first time builds Kubernetes, drctl and five images: a quarter of an hour on two processors.'
	@tests/lab/setup.sh --needed packages kubernetes node
	$(if $(DRCTL_BINARY),,cargo build --locked --release)
	@tests/cluster/images.sh

chart: ## all about the chart that needs no cluster: lint, schemas, suites, policies, rights, examples
	@tests/lab/setup.sh --needed packages chart prometheus
	@tests/chart/check.sh

manifests: ## plain YAML for people without Helm, into DIR, by VALUES
	@tests/chart/manifests.sh $(or $(DIR),dist/manifests) $(or $(VALUES),chart/ci/manifests-values.yaml)

clean: ## remove what cargo built; the lab stays
	cargo clean
