# The project's commands. `make help` lists them.
PYTHON  ?= python3
# A Python that is named gets an environment of its own, beside that of the default one.
VENV    := .venv$(if $(filter command environment,$(origin PYTHON)),-$(shell $(PYTHON) -c 'import platform; print(platform.python_version())'))
BIN     := $(VENV)/bin
REGISTRY ?= localhost:5000
# Once: an edit during `make push` must not change the name of the image that it builds.
ifndef VERSION
VERSION  := $(shell git describe --always --dirty 2>/dev/null || echo dev)
endif
# What `docker build` needs on this machine, such as --network=host where the engine has no bridge.
DOCKER_BUILD_ARGS ?=
IMAGE    ?= $(REGISTRY)/flask:$(VERSION)
ENVOY_IMAGE ?= $(REGISTRY)/flask-envoy:latest
PORT     ?= 8080
RUNG     ?= v5

# Tests at a time, for two processors: slow tests wait more than they compute (6 at a time take 376 s, 10 take 268), fast
# tests compute. An idle worker takes over tests of the others.
JOBS      ?= 10
FAST_JOBS ?= 3
PYTEST    := $(BIN)/pytest --dist worksteal -n

# Where it is set, each process of the tests would compile the tests and the service again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^# -+ [a-z]/ {gsub(/^# -+ | -+$$/, ""); print "\n" $$0} /^[a-z-]+:.*## / {printf "  make %-14s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- running and testing ------------------------------------------------------------------------
# The environment is built again when a locked file changes; the stamp says which ones it holds.
PIP_INSTALL := pip install --quiet --disable-pip-version-check
PIP_LOCKED  := $(PIP_INSTALL) --require-hashes

# It is cleared when the Python behind PYTHON is another one than it was built with.
$(VENV)/.python: FORCE
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another with make PYTHON=...")'
	@python=$$($(PYTHON) -c 'import sys; print(sys.version.split()[0], sys.base_prefix)'); \
	  if [ "$$python" != "$$(cat $@ 2>/dev/null)" ]; then $(PYTHON) -m venv --clear $(VENV) && echo "$$python" >$@; fi

.PHONY: FORCE
FORCE:

# The packages are imported from their sources: a .pth file needs neither a build nor a network.
PACKAGES      := $(wildcard packages/*/src)
LINK_PACKAGES  = printf '%s\n' $(abspath $(PACKAGES)) >"$$($(1)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/packages.pth"

$(VENV)/.run: requirements.txt $(VENV)/.python $(PACKAGES:src=pyproject.toml)
	@echo "Setting up $(VENV); that takes a minute, and longer on a slow network."
	@$(BIN)/$(PIP_LOCKED) -r requirements.txt
	@$(call LINK_PACKAGES,$(BIN))
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.txt
	@echo "Adding to $(VENV) what the tests and tools need."
	@$(BIN)/$(PIP_LOCKED) -r requirements-dev.txt
	@touch $@

.PHONY: run
run: $(VENV)/.run ## serve on port 8080 (PORT=...); Ctrl-C stops
	PORT=$(PORT) exec $(BIN)/gunicorn

.PHONY: demo
demo: $(VENV)/.dev ## a rolling update on this machine, with the drain and without, in two browser pages; takes a minute
	@$(BIN)/python -m tools.demo $(ARGS)

.PHONY: test
test: test-fast ## lint, types and every test that needs no cluster, the fast ones first (JOBS=... slow ones at a time)
	$(PYTEST) $(JOBS) --ignore=tests/cluster -m slow

.PHONY: test-fast
test-fast: $(VENV)/.dev check ## lint, types and the fast tests: at most a minute, for the inner loop (FAST_JOBS=... at a time)
	$(PYTEST) $(FAST_JOBS) --ignore=tests/cluster -m "not slow"

# COVERED= measures every test that needs no cluster.
COVERED ?= -m "not slow"
.PHONY: coverage
coverage: $(VENV)/.dev check ## test-fast, and the share of lines that it runs, subprocesses too; fails below the floor
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n $(FAST_JOBS) --dist worksteal --ignore=tests/cluster $(COVERED)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

VERSIONS ?= 3.11 3.12 3.13 3.14 3.15
.PHONY: test-pythons
test-pythons: $(VERSIONS:%=test-python-%) ## test-fast on every supported Python (VERSIONS="3.12 3.14" on these)

# pyenv's where pyenv has it, else the one on PATH; what is missing fails.
test-python-%:
	@python=$$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$*.*/bin/python 2>/dev/null | tail -1); \
	python=$${python:-$$(command -v python$*)}; \
	[ -n "$$python" ] || { echo "Python $* is not here; install it or name others with VERSIONS=..." >&2; exit 2; }; \
	$(MAKE) --no-print-directory test-fast PYTHON="$$python"

# Their source archives have the tests, the wheels that are installed do not. The hashes are those of requirements.txt.
ORIGINALS := $(VENV)/originals

$(ORIGINALS)/.fetched: requirements.txt $(VENV)/.dev
	@rm -rf $(ORIGINALS) && mkdir -p $(ORIGINALS)
	@awk '/^(flask|prometheus-flask-exporter)==/ {pin = 1} pin {print} pin && !/\\$$/ {pin = 0}' requirements.txt >$(ORIGINALS)/requirements.txt
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: --require-hashes -r $(ORIGINALS)/requirements.txt -d $(ORIGINALS)
	@touch $@

.PHONY: test-originals
test-originals: $(ORIGINALS)/.fetched ## Flask's and the exporter's own tests with gunicorn_fast's classes
	$(BIN)/pytest packages/gunicorn-fast/tests/test_originals.py

# They take over the namespace flask-cluster of the cluster that CONTEXT names: everything in it is deleted. Draining a
# node, evicting and stopping a kube-proxy need DISRUPTIVE=1. Images come from the manifests' registry, or are those of
# IMAGE=... ENVOY_IMAGE=... LOAD_IMAGE=... on the nodes.
CLUSTER_TESTS = $(BIN)/pytest tests/cluster --durations=25 --cluster-context '$(NAMED)' $(if $(filter 1,$(DISRUPTIVE)),--disruptive) \
	$(foreach name,IMAGE ENVOY_IMAGE LOAD_IMAGE,$(if $(filter command,$(origin $(name))),--$(subst _,-,$(shell echo $(name) | tr A-Z a-z)) '$($(name))'))

.PHONY: test-cluster
test-cluster: named $(VENV)/.dev ## the cluster tests that matter most (CONTEXT=name, DISRUPTIVE=1)
	$(CLUSTER_TESTS) -m "not matrix"

.PHONY: test-matrix
test-matrix: named $(VENV)/.dev ## all cluster tests; takes most of an hour (CONTEXT=name, DISRUPTIVE=1)
	$(CLUSTER_TESTS)

.PHONY: test-docker
test-docker: $(VENV)/.dev ## the image's files and user, and docker stop under load (needs Docker and python:3.13-slim)
	$(BIN)/pytest tests/process/test_image.py tests/process/test_docker.py

# What leans on Gunicorn's insides, with another release of it.
GUNICORN ?= 27.0.0
.PHONY: test-gunicorn
test-gunicorn: $(VENV)-$(GUNICORN)/.dev ## the drain's and the workers' tests with another Gunicorn (GUNICORN=...)
	$(VENV)-$(GUNICORN)/bin/pytest -n $(JOBS) --dist worksteal tests/unit tests/process $(wildcard packages/gunicorn-*/tests)

$(VENV)-$(GUNICORN)/.dev: requirements-dev.txt $(PACKAGES:src=pyproject.toml)
	$(PYTHON) -m venv $(VENV)-$(GUNICORN)
	$(VENV)-$(GUNICORN)/bin/$(PIP_LOCKED) -r requirements-dev.txt
	$(VENV)-$(GUNICORN)/bin/$(PIP_INSTALL) gunicorn==$(GUNICORN)
	@$(call LINK_PACKAGES,$(VENV)-$(GUNICORN)/bin)
	@touch $@

.PHONY: drain-matrix
drain-matrix: $(VENV)/.dev ## gunicorn-drain with Gunicorn 20.1 to 27, each worker class and Python; takes half an hour (ARGS=... as python -m tools.matrix --help)
	$(BIN)/python -m tools.matrix --environments $(VENV)-matrix $(ARGS)

# The modules of typings/, compared with the Gunicorn that is installed.
STUBBED := $(subst /,.,$(patsubst typings/%.pyi,%,$(filter-out %/__init__.pyi,$(wildcard typings/*/*.pyi typings/*/*/*.pyi))))

.PHONY: check
check: $(VENV)/.dev lint-workflows ## ruff, mypy, stubtest, import-linter, oxlint, and zizmor and actionlint on the workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=typings $(BIN)/stubtest --concise --ignore-missing-stub --mypy-config-file pyproject.toml $(STUBBED)
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/oxlint --quiet app

# actionlint is a Go program. Its package on PyPI downloads the binary from GitHub while it is installed, which neither
# the hashes of requirements-dev.txt nor a machine without GitHub allow; Go checks the module's checksum.
ACTIONLINT := $(VENV)/actionlint-1.7.12

$(ACTIONLINT): | $(VENV)/.dev
	GOBIN=$(abspath $@) go install github.com/rhysd/actionlint/cmd/actionlint@v$(@:$(VENV)/actionlint-%=%)

.PHONY: lint-workflows
lint-workflows: $(VENV)/.dev $(if $(shell command -v go),$(ACTIONLINT)) ## zizmor on .github, and actionlint where Go is installed
	@$(BIN)/zizmor --quiet --offline --no-progress .github
	@if [ -d $(ACTIONLINT) ]; then $(ACTIONLINT)/actionlint; else echo "actionlint: skipped, there is no go"; fi

# Each lock holds to those before it, so that a package has one version in all of them.
LOCKS := requirements requirements-dev tools/benchmarks/requirements requirements-audit \
  k8s/envoy/requirements
LOCK_FLAGS ?= --upgrade
.PHONY: lock
lock: $(VENV)/.dev ## renew every requirements.txt from its requirements.in (LOCK_FLAGS= keeps what still fits)
	@for lock in $(LOCKS); do \
	  UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	    --generate-hashes --annotation-style line $(LOCK_FLAGS) $$lock.in --output-file $$lock.txt || exit; \
	done

.PHONY: format
format: $(VENV)/.dev ## let ruff fix and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# ---- measuring ----------------------------------------------------------------------------------
$(VENV)-bench/.bench: tools/benchmarks/requirements.txt $(PACKAGES:src=pyproject.toml)
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/$(PIP_LOCKED) -r tools/benchmarks/requirements.txt
	@$(call LINK_PACKAGES,$(VENV)-bench/bin)
	@touch $@

.PHONY: bench
bench: $(VENV)-bench/.bench ## the service compared with other servers (ARGS=... as python -m tools.benchmarks --help); needs wrk
	$(VENV)-bench/bin/python -m tools.benchmarks $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev ## two hours under a mixed load with reloads and killed workers; fails if anything grows or is lost (ARGS=... as python -m tools.benchmarks.soak --help)
	$(BIN)/python -m tools.benchmarks.soak $(ARGS)

# ---- the image ----------------------------------------------------------------------------------
.PHONY: image
image: ## build the image (REGISTRY=... VERSION=...)
	docker build $(DOCKER_BUILD_ARGS) --build-arg APP_VERSION=$(VERSION) -t $(IMAGE) .

.PHONY: image-small
image-small: image ## build the image without a distribution too, and print both sizes; what that saves is in docs/performance.md
	docker build $(DOCKER_BUILD_ARGS) --build-arg IMAGE=$(IMAGE) -t $(IMAGE)-small tools/benchmarks/small_image
	@for image in $(IMAGE) $(IMAGE)-small; do echo "$$image: $$(docker image inspect -f '{{.Size}}' $$image) bytes, $$(docker save $$image | gzip | wc -c) compressed"; done

.PHONY: push
push: image ## build and push the image, as latest too, which the manifests name (REGISTRY=... VERSION=...)
	docker tag $(IMAGE) $(REGISTRY)/flask:latest
	docker push $(IMAGE)
	docker push $(REGISTRY)/flask:latest

.PHONY: image-envoy
image-envoy: ## build the sidecar's image, which only v6 needs (ENVOY_IMAGE=...)
	docker build $(DOCKER_BUILD_ARGS) -t $(ENVOY_IMAGE) k8s/envoy

.PHONY: push-envoy
push-envoy: image-envoy ## build and push the sidecar's image (ENVOY_IMAGE=...)
	docker push $(ENVOY_IMAGE)

# ---- the packages in it -------------------------------------------------------------------------
AUDIT := $(VENV)/audit
SBOM  ?= sbom.json

$(AUDIT)/.made: requirements-audit.txt $(VENV)/.python
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/$(PIP_LOCKED) -r requirements-audit.txt
	@touch $@

# --strict: a package that the source does not know fails, instead of counting as one without vulnerabilities.
.PHONY: audit
audit: $(AUDIT)/.made ## pip-audit on every pinned package; needs pypi.org
	$(AUDIT)/bin/pip-audit --strict --progress-spinner off --disable-pip $(patsubst %,-r %.txt,$(LOCKS))

.PHONY: sbom
sbom: $(AUDIT)/.made ## what is installed in the image beside its base, as CycloneDX in SBOM=sbom.json
	$(AUDIT)/bin/cyclonedx-py requirements requirements.txt --of JSON -o $(SBOM)

# ---- on a cluster -------------------------------------------------------------------------------
# What changes a cluster changes the one of the context named on make's command line, and no other: kubectl's current
# context is whatever was used last, and a variable of the environment may be meant for something else.
NAMED := $(if $(filter command,$(origin CONTEXT)),$(CONTEXT))

.PHONY: named
named:
	@contexts=$$(kubectl config get-contexts -o name) || exit 2; \
	if [ -z '$(NAMED)' ]; then said='CONTEXT is not set on the command line; write CONTEXT=name'; \
	elif ! printf '%s\n' "$$contexts" | grep -qxF -e '$(NAMED)'; then said="CONTEXT is '"'$(NAMED)'"'"; \
	else exit 0; fi; \
	if [ -n "$$contexts" ]; then echo "$$said; allowed are:" $$contexts; else echo "$$said; kubectl knows no context yet"; fi >&2; \
	echo "A cluster on this machine, without a registry: kind create cluster && kind load docker-image $(IMAGE); then CONTEXT=kind-kind" >&2; \
	exit 2

# The manifests name localhost:5000/flask:latest, so that plain `kubectl apply -f` works with a local registry. Any
# other image is set here, for every object of every manifest alike; `kubectl set image --local` refuses files with
# more than Deployments in them, and kustomize cannot be told on its command line which file to take.
.PHONY: manifest
manifest: ## print the manifest of RUNG=v1..v7 with IMAGE=... in it
	@test -f k8s/flask-deployment-$(RUNG).yaml || { echo "RUNG is '$(RUNG)'; allowed are:" $(patsubst k8s/flask-deployment-%.yaml,%,$(wildcard k8s/flask-deployment-*.yaml)) >&2; exit 2; }
	@sed -e 's|image: localhost:5000/flask:latest$$|image: $(IMAGE)|' -e 's|image: localhost:5000/flask-envoy:latest$$|image: $(ENVOY_IMAGE)|' k8s/flask-deployment-$(RUNG).yaml

# namespace.yaml would give its label, by which the tests know the project's namespace, to one that is somebody else's.
.PHONY: deploy
deploy: named ## apply namespace, Service and RUNG=v1..v7 with IMAGE=..., and wait for the rollout (CONTEXT=name)
	@label=$$(kubectl --context '$(NAMED)' get namespace flask-cluster --ignore-not-found -o 'jsonpath={.metadata.name} {.metadata.labels.app\.kubernetes\.io/part-of}') || exit 2; \
	case "$$label" in ''|'flask-cluster rolling-updates') ;; *) echo "The namespace flask-cluster of the context $(NAMED) is not this project's: it has no label app.kubernetes.io/part-of=rolling-updates. Nothing was changed." >&2; exit 2;; esac
	@manifest=$$($(MAKE) -s --no-print-directory manifest) && printf '%s\n' "$$manifest" | kubectl --context '$(NAMED)' apply -f k8s/namespace.yaml -f k8s/service.yaml -f -
	kubectl --context '$(NAMED)' -n flask-cluster rollout status deployment/flask-deployment

NAMESPACE ?= flask-cluster

.PHONY: doctor
doctor: $(VENV)/.dev ## the lines of a Deployment that would lose requests (DEPLOYMENT=name NAMESPACE=... CONTEXT=...; or FILE=manifest.yaml; ARGS=...)
	@$(BIN)/python -m kubectl_lossless doctor $(DEPLOYMENT) $(if $(FILE),$(FILE:%=-f %),$(if $(NAMED),--context '$(NAMED)') -n $(NAMESPACE)) $(ARGS)

# ---- the experiment -----------------------------------------------------------------------------
LOAD_IMAGE ?= $(REGISTRY)/flask-load:latest
# The manifests' image, unless one is named.
NAMED_IMAGE = $(if $(filter command,$(origin IMAGE)),--image '$(IMAGE)') \
  $(if $(filter command,$(origin ENVOY_IMAGE)),--envoy-image '$(ENVOY_IMAGE)')

.PHONY: rollout
rollout: named $(VENV)/.dev ## a rolling update under load (CONTEXT=name FROM=v2 TO=v3, ARGS=... as python -m tools.course update --help)
	$(BIN)/python -m tools.course update $(FROM) $(TO) --context '$(NAMED)' --load-image $(LOAD_IMAGE) $(NAMED_IMAGE) $(ARGS)

.PHONY: course
course: named $(VENV)/.dev ## all rungs in turn under load, one report (CONTEXT=name ARGS=...)
	$(BIN)/python -m tools.course course --context '$(NAMED)' --load-image $(LOAD_IMAGE) $(NAMED_IMAGE) $(ARGS)

.PHONY: replicas
replicas: named $(VENV)/.dev ## a rung onto itself with 3 to 48 pods: the time of each update beside its floor (CONTEXT=name RUNG=v5 ARGS=...)
	$(BIN)/python -m tools.course replicas $(RUNG) --context '$(NAMED)' --load-image $(LOAD_IMAGE) $(NAMED_IMAGE) $(ARGS)

# Servers as other people run them, for the tests of `kubectl lossless measure`.
WORKLOADS := packages/kubectl-lossless/tests/workloads
WORKLOADS_IMAGE ?= $(REGISTRY)/lossless-workloads:latest

.PHONY: image-workloads
image-workloads: ## build the servers that the tests of kubectl lossless measure roll; needs Go
	CGO_ENABLED=0 go build -ldflags='-s -w' -o $(WORKLOADS)/server $(WORKLOADS)/server.go
	docker build $(DOCKER_BUILD_ARGS) -t $(WORKLOADS_IMAGE) $(WORKLOADS)

.PHONY: push-workloads
push-workloads: image-workloads ## build and push them
	docker push $(WORKLOADS_IMAGE)

.PHONY: image-load
image-load: ## build the load's image (LOAD_IMAGE=...)
	docker build $(DOCKER_BUILD_ARGS) -f packages/kubectl-lossless/Dockerfile -t $(LOAD_IMAGE) .

.PHONY: push-load
push-load: image-load ## build and push the load, for running it in the cluster (REGISTRY=...)
	docker push $(LOAD_IMAGE)
