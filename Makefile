# The verbs of this project; CI runs the same ones. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

LAB := $(or $(DRCTL_LAB),$(HOME)/.cache/drctl)
export CARGO_TARGET_DIR ?= $(LAB)/target
export CARGO_TERM_COLOR ?= auto
SCRIPTS := $(shell git ls-files --cached --others --exclude-standard '*.sh') .ci/run
DENY := $(LAB)/bin/cargo-deny

.PHONY: help test smoke check lint lab docs demo bench race audit dist cluster install cluster-down image chart manifests clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 20

test: ## run everything: lints, licences, unit tests, tests on real servers; report what was skipped
	@tests/lab/setup.sh servers
	@# Kubernetes is built, if necessary, in the background at low priority.
	@nice -n 19 tests/lab/setup.sh node kubernetes >$(LAB)/kubernetes.log 2>&1 </dev/null &
	@$(MAKE) --no-print-directory lint
	@tests/chart/check.sh
	@tests/lab/run-tests.sh

smoke: ## run one test per capability, on this machine's servers: a few minutes
	@tests/lab/setup.sh servers
	@tests/lab/run-tests.sh --smoke

check: ## run the quick checks: types, lints and unit tests, no servers
	cargo fmt --check
	cargo clippy --all-targets --quiet -- -D warnings
	cargo test --quiet --lib

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets --quiet -- -D warnings
	if [ -x $(DENY) ]; then $(DENY) --log-level error check bans licenses sources; else echo 'SKIPPED cargo-deny: not in the lab'; fi
	if command -v shellcheck >/dev/null; then shellcheck -x $(SCRIPTS); else echo 'SKIPPED shellcheck: not installed'; fi

lab: ## download what the tests and the demo need (idempotent)
	@tests/lab/setup.sh

docs: ## regenerate what is made from code: docs of options and settings, schemas, the chart's README
	@# All unit tests, since a filter by name would miss a renamed one and leave its document as it was.
	DRCTL_WRITE_DOCS=1 cargo test --quiet --lib
	@tests/chart/tool.sh docs chart docs/config.schema.json

demo: ## back up, damage, restore and verify a real server; under a minute once built
	@tests/lab/setup.sh --needed packages mysql templates
	cargo build --locked --release --quiet
	@tests/demo/demo.sh

bench: ## measure the figures of docs/performance.md; BENCH="--rows 100000 backup" narrows it
	@tests/lab/setup.sh --needed bench
	cargo build --locked --release --quiet
	@tests/bench/bench.sh $(BENCH)

race: ## race drctl against other tools: time, memory, disk, traffic; RACE="--rows 100000 --runs 1" narrows it
	@tests/lab/setup.sh --needed packages gateway mysql templates bench aws race
	cargo build --locked --release --quiet
	@tests/bench/race.sh $(RACE)

audit: ## check the dependencies for known vulnerabilities (downloads the advisory database)
	@tests/lab/setup.sh --needed deny
	$(DENY) check advisories

dist: ## build the release binary: slower to build, smaller
	cargo build --locked --profile dist
	@ls -l $(CARGO_TARGET_DIR)/dist/drctl

cluster: image ## start a Kubernetes cluster on this machine, as root; print its KUBECONFIG (tests/cluster/README.md)
	@tests/cluster/up.sh

install: ## install the whole stack on that cluster, with data and a verified backup; print the addresses
	@tests/cluster/install.sh

cluster-down: ## stop the cluster and remove all of it
	@tests/cluster/down.sh

image: ## build drctl's image with its SBOM, and the other images; load them into a running cluster (DRCTL_BINARY: use that drctl)
	@[ -x $(LAB)/bin/kubernetes ] || echo 'The first run builds Kubernetes, drctl and five images: about 15 minutes on two processors.'
	@tests/lab/setup.sh --needed packages kubernetes node
	$(if $(DRCTL_BINARY),,cargo build --locked --release)
	@tests/cluster/images.sh

chart: ## check the chart without a cluster: lint, schemas, suites, policies, permissions, examples
	@tests/lab/setup.sh --needed packages chart prometheus
	@tests/chart/check.sh

manifests: ## render the chart to plain YAML in DIR, with VALUES
	@tests/chart/manifests.sh $(or $(DIR),dist/manifests) $(or $(VALUES),chart/ci/manifests-values.yaml)

clean: ## remove the build output of cargo; keep the lab
	cargo clean
