# All that is needed is Go and a POSIX shell; `make help` lists what there is.

GO       ?= go
GOFMT    ?= gofmt
TOOL     := $(GO) tool -modfile=tools/go.mod
FUZZTIME ?= 10s
STATES   ?= 10000000
POINTS   ?= 55000
KILLS    ?= 1000
BENCH    ?= .
COUNT    ?= 1
# Arguments for bench/peers.
PEERS    ?=

# The race detector where it can be built: it needs a C compiler.
RACE = $(shell $(GO) list -race unsafe >/dev/null 2>&1 && echo -race)
# Where 32-bit programs run beside the machine's own: not every kernel has them.
I386 = $(shell GOARCH=386 $(GO) test -run '^$$' ./cmd/vhd/internal/human >/dev/null 2>&1 && echo 386)
# What runs programs of a big-endian machine.
S390X ?= qemu-s390x-static
# Where the code must vet, with the tests.
PLATFORMS := linux/amd64 linux/386 windows/amd64 darwin/arm64

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the command: bin/vhd
	$(GO) build -trimpath -o bin/ ./cmd/vhd

.PHONY: man
man: ## Write the manual pages: man/
	rm -f man/*.1
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null)} $(GO) run ./cmd/vhd man man

.PHONY: pictures
pictures: ## Draw the pictures of the documents anew, with chromium: docs/*.svg, docs/report.png
	$(GO) test ./cmd/vhd -count 1 -run '^TestPicturesOfTheDocuments' -draw-pictures

# Tests in which more than one does something at a time, of the package and of the command: the race detector is for
# them. make race has all.
TOGETHER := Beside|Meanwhile|While|Readers|Writers|Goroutine|AnyTwo|Together|SameTime|Close|Ends|Share|Snapshot|AllWho|Waited|OnItsWay|AnyExport|AReaderNever|IsReadRight|IsEnded
COMMAND := Compare|Diff|Progress|Interrupt|Stop|LeftBy|Terminal
# Tests of the order of writes, and others that have nothing to do with how many bits a number has.
ORDER := Crash|P[1-4]|Fault|Power|Kill|Mistake|OthersRead|Kernel

.PHONY: test
test: readers ## Run all tests, also with the race detector and as a 32-bit program where that can be
	@$(MAKE) --no-print-directory -j 2 --output-sync=target test-all test-race test-386

.PHONY: test-all test-race test-386
test-all:
	$(GO) test -timeout 30m ./...

test-race:
	$(if $(RACE),$(GO) test -race -short -timeout 30m -run '$(TOGETHER)' -skip '$(ORDER)|Repair' .,@echo "not with the race detector: it needs a C compiler")
	$(if $(RACE),$(GO) test -race -short -timeout 30m -run '$(COMMAND)' ./cmd/vhd)
	$(if $(RACE),$(GO) test -race -short -timeout 30m ./internal/... ./cmd/vhd/internal/...)

test-386:
	$(if $(I386),GOARCH=386 $(GO) test -short -timeout 30m -skip '$(ORDER)|AnyTwo|Beside|Example' . ./internal/... ./cmd/vhd/internal/...,@echo "not as a 32-bit program: this machine runs none")

.PHONY: race
race: ## Run all tests with the race detector, the slow parts too
	$(GO) test -race -timeout 1h ./...

# Tests that are slow under emulation, of what comes in no order of bytes. Those of the command start it as a
# program, which no emulator runs then.
ANYENDIAN := Beside|Killed|EveryFault|OthersRead|Power|Crash|Hostile|AnyTwo|RandomDamage|NeverComesToLight|Extent|GrowAndShrink|ReadersAndWriters|Goroutines|TopmostOne|ImportedIs|IsWrittenTo|ByManyBlocks|EndOfTheContext|ToTheSameContent|Merge|Compact|Rebase|Resize|Rename

.PHONY: endian
endian: ## Run the tests big-endian, under emulation
	@command -v $(S390X) >/dev/null || { echo "$(S390X) is missing (Debian: apt-get install qemu-user-static)"; exit 1; }
	VHD_CRASH_STATES=1000 VHD_CRASH_STEPS=1 VHD_FAULT_POINTS=500 GOOS=linux GOARCH=s390x CGO_ENABLED=0 $(GO) test -short -timeout 30m -skip '$(ANYENDIAN)' -exec $(S390X) . ./internal/... ./cmd/vhd/internal/...

.PHONY: readers
readers: ## Say which programs of others the tests can ask
	@without=$$([ "$$VHD_REQUIRE_READERS" = 1 ] && echo fail || echo skip); \
	say() { [ "$$2" = 0 ] && echo "$$1: present" || echo "$$1: missing, its tests $$without"; }; \
	for tool in qemu-img qemu-io 7zz strace chromium; do command -v $$tool >/dev/null 2>&1; say $$tool $$?; done; \
	for python in /usr/bin/python3 python3; do $$python -c 'import pyvhdi' 2>/dev/null && break; done; \
	say python3-libvhdi $$?
	@[ -d "$$VHD_CORPUS" ] && echo "images of VHD_CORPUS: present" || echo "images of VHD_CORPUS: missing, their tests skip"

.PHONY: check
check: vet fmt fix tidy lint vuln ## Run every check that is not a test

.PHONY: vet
vet: ## Vet code and tests for every platform
	@for p in $(PLATFORMS); do \
		echo "vet $$p"; \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) vet ./... || exit 1; \
	done
	$(GO) -C bench vet ./...

.PHONY: fmt
fmt: ## Check that gofmt would change nothing
	@out=$$($(GOFMT) -l .) && [ -z "$$out" ] || { echo "gofmt would change: $$out"; exit 1; }

.PHONY: fix
fix: ## Check that go fix would change nothing
	@out=$$($(GO) fix -diff ./...) && [ -z "$$out" ] || { echo "$$out"; echo "go fix would change the above"; exit 1; }

.PHONY: tidy
tidy: ## Check that go.mod and go.sum are tidy
	$(GO) mod tidy -diff
	$(GO) -C bench mod tidy -diff

.PHONY: lint
lint: ## Run the linters of .golangci.yml
	$(TOOL) golangci-lint config verify
	$(TOOL) golangci-lint run

.PHONY: vuln
vuln: ## Look for known vulnerabilities in what is used
	@out=$$($(TOOL) govulncheck ./... 2>&1); status=$$?; \
	case "$$status:$$out" in \
	0:*) echo "govulncheck: nothing found" ;; \
	1:*"fetching vulnerabilities:"*) echo "govulncheck: not run, its database can not be reached" ;; \
	*) echo "$$out"; exit 1 ;; \
	esac

.PHONY: fuzz
fuzz: ## Run every fuzz target in turn for FUZZTIME each
	@for pkg in $$($(GO) list ./...); do \
		targets=$$($(GO) test -list '^Fuzz' $$pkg) || { echo "$$targets"; exit 1; }; \
		for target in $$(echo "$$targets" | grep '^Fuzz'); do \
			echo "$$target $(FUZZTIME)"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$pkg || exit 1; \
		done; \
	done

.PHONY: crash
crash: ## Lose power in all short workloads and in random programs, until STATES states were looked at
	VHD_CRASH_STATES=$(STATES) VHD_CRASH_STEPS=3 $(GO) test -v -timeout 12h -run '^(TestP[1-4]|TestEveryCrash)' .

.PHONY: faults
faults: ## Let every call to the storage fail in random programs, until POINTS were looked at
	VHD_FAULT_POINTS=$(POINTS) $(GO) test -v -timeout 2h -run '^TestEveryFault' .

.PHONY: teeth
teeth: ## Build every mistake in the order of writes, and find it
	VHD_MISTAKES=1000 $(GO) test -v -timeout 2h -run '^TestEveryMistake' .

.PHONY: model
model: ## Do a million operations, of all kinds, to chains and to plain memory
	$(GO) test -v -timeout 12h -run '^TestAnyWritesReadBack' -rapid.checks=25000 -rapid.steps=40 .

.PHONY: kill
kill: ## Kill a process that writes, compacts or merges KILLS times each
	VHD_KILLS=$(KILLS) VHD_MERGE_KILLS=$(KILLS) $(GO) test -v -timeout 2h -run '^(TestAKilled|TestAMergeThatIsKilled)' .

.PHONY: hostile
hostile: ## Compare what becomes of hostile images with other readers
	$(GO) run ./internal/hostile

.PHONY: bench
bench: ## Run the benchmarks that match BENCH, COUNT times, each beside its yardstick
	$(GO) test -timeout 0 -run '^$$' -bench '$(BENCH)' -benchtime 1x -count $(COUNT) .

.PHONY: peers
peers: ## Compare with other software on chains of images: docs/performance.md
	bench/peers $(PEERS)

.PHONY: cover
cover: ## Measure what the package's tests cover: cover.out
	$(GO) test -timeout 30m -coverprofile=cover.out .
	@$(GO) tool cover -func=cover.out | tail -n 1
