# Everything that builds, tests and checks capiam. `make help` lists the targets.

# One set of build flags everywhere: other flags would rebuild Kubernetes from
# nothing. -trimpath keeps this machine's paths out of what is built.
export GOFLAGS := -trimpath -buildvcs=false
# Static binaries; only the race detector needs cgo.
export CGO_ENABLED := 0

GO      ?= go
BIN     := $(CURDIR)/bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null)

VERSION_PKG := github.com/capiam/capiam/pkg/version
LDFLAGS     := -s -w -X $(VERSION_PKG).version=$(VERSION) -X $(VERSION_PKG).commit=$(COMMIT)

# The Kubernetes that cmd/capiam-local embeds; its go.mod says which.
KUBE_VERSION := $(shell sed -n 's,^[[:space:]]*k8s.io/kubernetes \(v[0-9.]*\).*,\1,p' cmd/capiam-local/go.mod)
KUBE_PARTS   := $(subst ., ,$(KUBE_VERSION:v%=%))
KUBE_LDFLAGS := -s -w \
	-X k8s.io/component-base/version.gitVersion=$(KUBE_VERSION) \
	-X k8s.io/component-base/version.gitMajor=$(word 1,$(KUBE_PARTS)) \
	-X k8s.io/component-base/version.gitMinor=$(word 2,$(KUBE_PARTS))

PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.DEFAULT_GOAL := help

##@ Use

.PHONY: run
run: build ## Create the local cluster of examples/local.yaml and log in to it
	$(BIN)/capiam create cluster -f examples/local.yaml

.PHONY: build
build: ## Build bin/capiam, bin/capiam-authenticator and bin/capiam-local
	@mkdir -p $(BIN)
	$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/capiam ./cmd/capiam-authenticator
	cd cmd/capiam-local && $(GO) build -ldflags '$(KUBE_LDFLAGS)' -o $(BIN)/ .

.PHONY: kubectl
kubectl: ## Build bin/kubectl, for a machine that has none
	@mkdir -p $(BIN)
	cd cmd/capiam-local && $(GO) build -ldflags '$(KUBE_LDFLAGS)' -o $(BIN)/ k8s.io/kubernetes/cmd/kubectl

##@ Check

# Modules beside the main one whose tests run. gotestsum reads one stream of all,
# so that there is one summary. Go does not look at programs outside a module, so
# it must not take over old results there (-count=1).
TEST_MODULES := test/clusterapi
GO_TEST      := $(GO) test -json -race -timeout=20m

.PHONY: test
test: build kubectl test-tools capi-managers ## Run all tests but the long end-to-end ones
	CGO_ENABLED=1 CAPIAM_BIN=$(BIN) $(BIN)/gotestsum --format=pkgname-and-test-fails --raw-command -- sh -c '\
		$(GO_TEST) ./...; failed=$$?; \
		for module in $(TEST_MODULES); do (cd $$module && $(GO_TEST) -count=1 ./...) || failed=1; done; \
		exit $$failed'

# A count of inputs by default. When a time runs out, go test may call that a
# failure, "context deadline exceeded", which is none without a failing input.
# Fuzzing instruments the tested packages and all they import, so the first run
# compiles for a while.
FUZZTIME ?= 2000x

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (2000x)
	@set -e; mkdir -p $(BIN); for dir in $$(grep -rl '^func Fuzz' --include='*_test.go' pkg cmd release | xargs -n1 dirname | sort -u); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$dir/*_test.go); do \
			echo "fuzz $$dir $$target for $(FUZZTIME)"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 50x ./$$dir >$(BIN)/fuzz.log 2>&1 || \
				{ grep -q '^    context deadline exceeded' $(BIN)/fuzz.log && ! grep -q 'Failing input' $(BIN)/fuzz.log; } || \
				{ cat $(BIN)/fuzz.log; exit 1; }; \
		done; \
	done

.PHONY: fuzz-long
fuzz-long: ## Run every fuzz target for five minutes
	$(MAKE) fuzz FUZZTIME=5m

.PHONY: oracle
oracle: $(BIN)/aws-iam-authenticator ## Run the conformance tables against aws-iam-authenticator itself, and its library
	CAPIAM_ORACLE=$(BIN)/aws-iam-authenticator $(GO) test -count=1 -run Oracle ./pkg/authenticator ./pkg/authenticator/presigned
	cd test/oracle/bench && $(GO) test -count=1 -run Oracle .

.PHONY: lint
lint: $(BIN)/golangci-lint ## Run the linters
	$(BIN)/golangci-lint run ./...
	cd cmd/capiam-local && $(BIN)/golangci-lint run --config ../../.golangci.yml ./...
	cd test/clusterapi && $(BIN)/golangci-lint run --config ../../.golangci.yml ./...
	cd test/e2e && $(BIN)/golangci-lint run --config ../../.golangci.yml --build-tags=e2e ./...

.PHONY: vet
vet: ## Run go vet on every module
	$(GO) vet ./...
	cd cmd/capiam-local && $(GO) vet ./...
	cd test/clusterapi && $(GO) vet ./...
	cd test/e2e && $(GO) vet -tags=e2e ./...

.PHONY: cross
cross: ## Compile the command line for every platform
	@for platform in $(PLATFORMS); do \
		echo "build capiam for $$platform"; \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} $(GO) build -o /dev/null ./cmd/capiam || exit 1; \
	done

.PHONY: bench
bench: build bench-tools ## Measure capiam beside its peers; BENCH_JSON=FILE also writes the figures
	$(GO) run ./test/bench -bin $(BIN)

.PHONY: bench-docs
bench-docs: build bench-tools ## The same, and write docs/benchmarks.md with its plot
	$(GO) run ./test/bench -bin $(BIN) -docs docs -version '$(COMMIT)'

##@ Cluster API

# Cluster API's own managers, their manifests, and what runs them without nodes;
# see test/clusterapi/README.md.
CAPI_DIR        := $(CURDIR)/local/management
CAPI_MODULES    := test/clusterapi/go.mod test/clusterapi/go.sum
CAPI_MANAGERS   := $(addprefix $(BIN)/,capi-core capi-kubeadm-bootstrap capi-kubeadm-control-plane capi-in-memory)
CAPI_MANIFESTS  := $(BIN)/capi-manifests/clusterctl.yaml

.PHONY: capi-managers
capi-managers: $(CAPI_MANAGERS) $(CAPI_MANIFESTS) ## Build Cluster API's managers (minutes when cold)

$(BIN)/capi-core: CAPI_PACKAGE := core
$(BIN)/capi-kubeadm-bootstrap: CAPI_PACKAGE := bootstrap/kubeadm
$(BIN)/capi-kubeadm-control-plane: CAPI_PACKAGE := controlplane/kubeadm
$(BIN)/capi-in-memory: CAPI_PACKAGE := test/infrastructure/docker

$(CAPI_MANAGERS): $(CAPI_MODULES)
	@mkdir -p $(BIN)
	cd test/clusterapi && $(GO) build -ldflags '-s -w' -o $@ sigs.k8s.io/cluster-api/$(CAPI_PACKAGE)

# clusterctl.yaml is the last that the program writes.
$(CAPI_MANIFESTS): $(CAPI_MODULES) $(wildcard test/clusterapi/cmd/capi-manifests/*.go)
	cd test/clusterapi && $(GO) run ./cmd/capi-manifests -o $(dir $@)
	@touch $@

.PHONY: capi-up
capi-up: build kubectl capi-managers ## Leave a management cluster standing, with in-memory infrastructure
	cd test/clusterapi && $(GO) build -ldflags '-s -w' -o $(BIN)/ ./cmd/capi-management
	$(BIN)/capi-management up --dir $(CAPI_DIR)

.PHONY: capi-down
capi-down: ## End that management cluster and remove it
	$(BIN)/capi-management down --dir $(CAPI_DIR)

##@ End to end

# Real Kubernetes nodes, made of namespaces, by Cluster API's own controllers. It
# needs root; see test/e2e/README.md.
E2E         := $(BIN)/e2e
E2E_TIMEOUT ?= 60m
E2E_VERSION := v0.0.0-e2e

.PHONY: e2e
e2e: e2e-build e2e-image ## Run the end-to-end tests (root; minutes; RUN=TestLife runs one)
	cd test/e2e && $(GO) test ./...
	cd test/e2e && CAPIAM_BIN=$(BIN) CAPIAM_E2E_DIST=$(CURDIR)/dist $(GO) test -tags=e2e -count=1 -v -timeout=$(E2E_TIMEOUT) \
		$(if $(RUN),-run '$(RUN)') . $(if $(E2E_DOCS),-docs '$(E2E_DOCS)')

.PHONY: e2e-docs
e2e-docs: ## The same, and write what was measured into docs/e2e.md
	$(MAKE) e2e E2E_DOCS=$(CURDIR)/docs/e2e.md

.PHONY: e2e-up
e2e-up: e2e-build e2e-image ## Leave an environment for real nodes standing (root; SPEC=file also creates that cluster)
	$(E2E)/e2e up
	$(E2E)/e2e import dist/capiam-authenticator-$(E2E_VERSION).oci.tar
	$(if $(SPEC),$(E2E)/e2e exec capiam create cluster -f '$(abspath $(SPEC))' --kubeconfig /var/lib/capiam-e2e/x-management/admin.kubeconfig)

.PHONY: e2e-down
e2e-down: ## Remove every trace of it
	cd test/e2e && $(GO) run ./cmd/e2e down

.PHONY: e2e-packages
e2e-packages: ## Install the Debian packages that end-to-end tests need
	test/e2e/packages.sh

.PHONY: e2e-image
e2e-image:
	$(MAKE) image VERSION=$(E2E_VERSION)

.PHONY: e2e-build
e2e-build: e2e-packages build kubectl capi-managers $(E2E)/kubelet $(E2E)/pause ## Build what end-to-end tests run (minutes when cold)
	cd test/e2e && $(GO) build -ldflags '-s -w' -o $(E2E)/ ./cmd/...
	ln -sf e2e-node $(E2E)/systemctl
	cp test/e2e/crictl $(BIN)/kubectl $(E2E)/

# The programs of a node, of which kubelet stands for all.
$(E2E)/kubelet: test/e2e/nodebin/go.mod test/e2e/nodebin/go.sum
	@mkdir -p $(E2E)
	cd test/e2e/nodebin && $(GO) build -ldflags '$(KUBE_LDFLAGS)' -o $(E2E)/ $(addprefix k8s.io/kubernetes/cmd/,\
		kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubeadm kubelet)
	cd test/e2e/nodebin && $(GO) build -ldflags '-s -w' -o $(E2E)/etcd go.etcd.io/etcd/server/v3
	@touch $@

$(E2E)/pause: test/e2e/nodebin/go.mod
	@mkdir -p $(E2E)
	gcc -Os -static -o $@ "$$(cd test/e2e/nodebin && $(GO) list -m -f '{{.Dir}}' k8s.io/kubernetes)/build/pause/linux/pause.c"

##@ Generate

.PHONY: generate
generate: release-manifest ## Make generated files anew

##@ Release

RELEASE_TOOL  := $(GO) run ./release/tool
RELEASE_FLAGS  = --version '$(VERSION)' --out dist $(if $(BASE_URL),--base-url '$(BASE_URL)') \
	$(if $(IMAGE_REPOSITORY),--image-repository '$(IMAGE_REPOSITORY)') $(if $(PUSH),--push)

.PHONY: release-manifest
release-manifest: ## Generate the release manifest (REFRESH=1 reads the publisher's documents, PIN=name takes another release)
	$(RELEASE_TOOL) manifest $(if $(REFRESH),--refresh) $(if $(PIN),--pin '$(PIN)')

.PHONY: release
release: release-version ## Make a release in dist/ (VERSION=v0.1.0; BASE_URL, IMAGE_REPOSITORY, PUSH=1, RECORD=1)
	$(RELEASE_TOOL) release $(RELEASE_FLAGS) $(if $(RECORD),--record)

.PHONY: image
image: release-version ## Make the container images alone in dist/ (VERSION=v0.1.0; IMAGE_REPOSITORY, PUSH=1)
	$(RELEASE_TOOL) image $(RELEASE_FLAGS)

.PHONY: release-version
release-version:
	@test '$(origin VERSION)' != file || { echo 'name the version: make $(MAKECMDGOALS) VERSION=v0.1.0' >&2; exit 1; }

.PHONY: test-release
test-release: ## Make a release of this tree twice and compare (minutes)
	CAPIAM_TEST_RELEASE=1 $(GO) test -count=1 -timeout=60m -run TestTreeIsReproducible ./release/internal/assemble

##@ Tools

# What the tests call besides our own programs. The AWS command line cannot be
# had from Go modules; see .ci/run for where it comes from.
.PHONY: test-tools
test-tools: $(BIN)/gotestsum $(BIN)/yq $(BIN)/aws-iam-authenticator

$(BIN)/gotestsum: .ci/tools/go.mod .ci/tools/go.sum
	@mkdir -p $(BIN)
	cd .ci/tools && $(GO) build -o $@ gotest.tools/gotestsum

$(BIN)/yq: .ci/tools/go.mod .ci/tools/go.sum
	@mkdir -p $(BIN)
	cd .ci/tools && $(GO) build -o $@ github.com/mikefarah/yq/v4

$(BIN)/golangci-lint: .ci/tools/go.mod .ci/tools/go.sum
	@mkdir -p $(BIN)
	cd .ci/tools && $(GO) build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(BIN)/aws-iam-authenticator: test/oracle/go.mod test/oracle/go.sum
	@mkdir -p $(BIN)
	cd test/oracle && $(GO) build -o $@ sigs.k8s.io/aws-iam-authenticator/cmd/aws-iam-authenticator

# The original's own library, beside which lookups and reloads are measured.
.PHONY: bench-tools
bench-tools: $(BIN)/aws-iam-authenticator
	cd test/oracle/bench && $(GO) build -o $(BIN)/oracle-bench .

.PHONY: clean
clean: ## Remove what the build made (not the clusters)
	rm -rf $(BIN) dist

.PHONY: help
help: ## Show this
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-zA-Z0-9_-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
