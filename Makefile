# make help lists what can be made.

GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION   := v1.8.0

GOLANGCI_LINT := bin/golangci-lint-$(GOLANGCI_LINT_VERSION)
GOVULNCHECK   := bin/govulncheck-$(GOVULNCHECK_VERSION)

# PATH=… is what make module is asked with, and also where programs are looked
# for: make would hand the new one to its commands. The old one is still in the
# environment that make itself was started with.
ifeq ($(origin PATH),command line)
TO := $(PATH)
override PATH := $(shell /usr/bin/tr '\000' '\n' </proc/$$PPID/environ | /usr/bin/sed -n 's/^PATH=//p')
endif

# The race detector watches all code but that of SQLite, which is translated
# from C, and of the Lua in which the Redis of tests runs its scripts: watched,
# these two would take most of the time. And not two of whatsmeow's parts, which
# race with themselves: FrameSocket.Close reads what NoiseSocket.Stop clears, and
# Event.GetChan writes under a lock for readers.
UNWATCHED := modernc.org github.com/yuin/gopher-lua go.mau.fi/whatsmeow/socket go.mau.fi/util/exsync
RACE      := -race $(foreach p,$(UNWATCHED),-gcflags=$(p)/...=-race=false)

.DEFAULT_GOAL := help
.PHONY: help run demo test chaos fuzz check bench module tools packages

help: ## say what can be made
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{printf "make %-8s %s\n", $$1, $$2}'

run: ## run the server (ARGS="--config FILE")
	go run ./cmd/wagent serve $(ARGS)

demo: ## watch messages become answers and webhooks, without WhatsApp or keys
	go run ./cmd/wagent demo $(ARGS)

test: packages check bin/gotest ## install what is missing, check, and run every test with the race detector
	WAGENT_TEST_STRICT=1 bin/gotest $(RACE) -shuffle=on -count=1 -timeout=18m $$(go list ./... | grep -v '/gateway/whatsapp')
	WAGENT_TEST_STRICT=1 bin/gotest -tags watest $(RACE) -shuffle=on -count=1 -timeout=12m ./gateway/whatsapp/... ./cmd/wagent/internal/bench
	WAGENT_TEST_STRICT=1 bin/gotest -tags watest $(RACE) -shuffle=on -count=1 -timeout=12m -parallel=4 -run='^TestLinked' ./cmd/wagent

chaos: packages ## kill, stop and cut off two replicas and their Redis for a minute while 2,000 people write, and while 500 deliveries a second are made (ARGS="-chaos.seed=N")
	WAGENT_TEST_STRICT=1 go test -count=1 -timeout=12m -v -run='^(TestChaos|TestDeliveriesOfReplicasThatDie)$$' ./cmd/wagent -chaos=1m -chaos.people=2000 -chaos.deliveries=500 -chaos.kills=1m $(ARGS)

fuzz: FUZZTIME ?= 30s
fuzz: ## fuzz what strangers send for 30 s each (FUZZTIME=30s)
	@.ci/fuzz $(FUZZTIME)

check: $(GOLANGCI_LINT) $(GOVULNCHECK) ## format, lint, vet, build, modules, generated code, known vulnerabilities
	@files=$$(gofmt -l $$(git ls-files '*.go')) && test -z "$$files" || { echo "gofmt would change:"; echo "$$files"; exit 1; }
	go mod tidy -diff
	go build ./...
	go vet ./...
	go vet -tags watest ./gateway/whatsapp/... ./cmd/wagent/...
	go vet -tags nolinked ./cmd/wagent/...
	$(GOLANGCI_LINT) run --allow-parallel-runners ./...
	$(GOLANGCI_LINT) run --allow-parallel-runners --build-tags watest ./gateway/whatsapp/... ./cmd/wagent/...
	.ci/generated
	.ci/vulncheck $(GOVULNCHECK)

bench: ## measure windows, runs, the API and deliveries (ONLY=debounce, runs, api or dispatch; on REDIS=redis://… and DATABASE=postgres://…, else on servers of its own), then what has benchmarks
	@.ci/bench $(ARGS)
	$(if $(ONLY),,go test -run='^$$' -bench=. -benchmem ./...)

module: ## give the module another path (PATH=github.com/you/wagent)
	@test -n "$(TO)" || { echo "say which: make module PATH=github.com/you/wagent"; exit 2; }
	@.ci/module '$(TO)'

tools: $(GOLANGCI_LINT) $(GOVULNCHECK) ## install the pinned linters into ./bin

packages:
	@.ci/packages

$(GOLANGCI_LINT):
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv bin/golangci-lint $@

$(GOVULNCHECK):
	GOBIN=$(CURDIR)/bin go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
	mv bin/govulncheck $@

bin/gotest: .ci/gotest.go
	go build -o $@ $<
