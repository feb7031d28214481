# Two commands do everything on a fresh machine: `make run` shows the server at work, `make test` proves it.

CARGO ?= cargo
# One profile for all: what is tested is what is shipped.
RELEASE := --release --locked

.PHONY: run test fuzz drill drill-prove bench bench-check flamegraph build build-wasi quick lint fmt doc ci

run: build ## build, then a whole session shown step by step
	./target/release/nurones-mcp demo

test: ## unit, property and black-box tests, and those of the guests' pure parts
	$(CARGO) test $(RELEASE)
	tools/build --test

fuzz: ## ten million mutants of lines, manifests, configs, frames and logs, in some minutes; see fuzz/README.md
	NURONES_FUZZ_CASES=1700000 NURONES_FUZZ_SEED=$${NURONES_FUZZ_SEED:-$$(date +%s)} $(CARGO) test $(RELEASE) --test fuzz -- --nocapture

drill: build ## make everything go wrong that can, and look whether the promises hold; in a few minutes
	./target/release/nurones-mcp drill --all

drill-prove: build ## the same against servers that are broken on purpose: each drill has to notice
	./target/release/nurones-mcp drill --all --prove

bench: ## what the runtime costs beside bare baselines, in about four minutes; see benches/README.md
	$(CARGO) bench --locked --bench '*'

bench-check: ## whether a ratio is over its limit in benches/limits.txt, in some seconds once built
	NURONES_BENCH_CHECK=1 $(CARGO) bench --locked --bench '*' --no-fail-fast

flamegraph: build ## target/flamegraph.svg: where the server spends its time under load; needs perf and inferno
	benches/flamegraph

build:
	$(CARGO) build $(RELEASE)

build-wasi: ## rebuild the guests into tools/prebuilt/, by whichever way works here
	tools/build

quick: build-wasi build ## guests and server

lint: ## formatting and lints, warnings are errors
	$(CARGO) fmt --check
	$(CARGO) fmt --manifest-path tools/Cargo.toml --all --check
	$(CARGO) clippy $(RELEASE) --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(RELEASE) --no-deps

ci: ## what continuous integration runs
	bash .ci/run
