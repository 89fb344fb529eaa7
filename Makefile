# devproof-kms: every target that a developer or CI runs.  `make help`.
#
#   make CC=clang            the other compiler
#   make B=build/asan SAN=1  with address and undefined-behaviour sanitizers

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
B ?= build/$(CC)
SAN ?=

WARN := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wswitch-enum \
    -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wvla -Wformat=2 \
    -Werror
HARDEN := -fstack-protector-strong -fPIE -D_FORTIFY_SOURCE=2
OPT := -O2 -g
FUZZING ?=
COVER ?=
ifneq ($(SAN),)
HARDEN := -fPIE -fno-omit-frame-pointer
OPT := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined
endif
ifneq ($(COVER),)
OPT := -O1 -g -fprofile-instr-generate -fcoverage-mapping
endif
ifneq ($(FUZZING),)
OPT += -fsanitize=fuzzer-no-link
endif
CPPFLAGS += -D_GNU_SOURCE -I. -I$(B)/gen
CFLAGS += -std=c2x $(WARN) $(HARDEN) $(OPT)
LDFLAGS += -pie -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=address$(comma)undefined)
comma := ,
LDLIBS := -lnng -luv -lraft -llmdb -lcurl -ljansson -lcyaml -lcbor \
    -lprotobuf-c -lsecp256k1 -lsodium -lssl -lcrypto -lz -lpthread

srcs = $(sort $(wildcard $(1)/*.c $(1)/*/*.c))
MAINS := kms/kmsd.c kms/ctl/kmsctl.c node/agent/cvm_agent.c
COMMON := $(call srcs,common)
NODE := $(filter-out $(MAINS),$(call srcs,node))
KMS := $(filter-out $(MAINS),$(call srcs,kms))
PROTO := $(wildcard common/wire/*.proto)
obj = $(1:%.c=$(B)/%.o)
GEN_C := $(PROTO:%.proto=$(B)/gen/%.pb-c.c)
GEN_H := $(GEN_C:.c=.h)
GEN_O := $(GEN_C:.c=.o)

ARCHIVES := $(B)/libkms.a $(B)/libnode.a $(B)/libcommon.a
PROGRAMS := $(B)/kmsd $(B)/cvm-agent $(B)/kmsctl

TESTS := $(sort $(wildcard tests/unit/test_*.c))
TEST_LIB := $(sort $(wildcard tests/lib/*.c))

.PHONY: all help deps programs clean
all: $(ARCHIVES) $(foreach m,$(MAINS),$(if $(wildcard $(m)),$(B)/$(notdir $(patsubst %.c,%,$(subst cvm_agent,cvm-agent,$(m))))))

help: ## this list
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

deps: ## install what is missing (Debian packages, npm packages)
	@deploy/deps.sh
.PHONY: deps-examples deps-tests
deps-examples: ## the same, and what the examples run (PostgreSQL)
	@deploy/deps.sh --examples
deps-tests: ## the same, and what only tests need (a browser)
	@deploy/deps.sh --tests

$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: %.proto
	@mkdir -p $(@D)
	protoc-c --c_out=$(B)/gen $<

# Generated code is not ours to warn about.
$(B)/gen/%.o: $(B)/gen/%.c
	$(CC) -D_GNU_SOURCE -I$(B)/gen -std=gnu11 $(OPT) -fPIE -c $< -o $@

$(B)/%.o: %.c | $(GEN_H)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(B)/libcommon.a: $(call obj,$(COMMON)) $(GEN_O)
$(B)/libnode.a: $(call obj,$(NODE))
$(B)/libkms.a: $(call obj,$(KMS))
$(ARCHIVES):
	@mkdir -p $(@D)
	@rm -f $@
	ar crs $@ $^

$(B)/kmsd: $(B)/kms/kmsd.o $(ARCHIVES)
$(B)/kmsctl: $(B)/kms/ctl/kmsctl.o $(ARCHIVES)
$(B)/cvm-agent: $(B)/node/agent/cvm_agent.o $(B)/libnode.a $(B)/libcommon.a
$(PROGRAMS):
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

# Criterion speaks nanomsg, whose names nng exports too: link it first, so
# that each binds to its own (STYLE 4.8).
$(B)/tests/unit/%: $(B)/tests/unit/%.o $(call obj,$(TEST_LIB)) $(ARCHIVES)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(call obj,$(TEST_LIB)) $(ARCHIVES) \
	    -Wl,--no-as-needed -lcriterion -lnanomsg $(LDLIBS)

TEST_BINS := $(TESTS:%.c=$(B)/%)
.PHONY: unit
unit: $(TEST_BINS) ## build and run the unit tests (T=name for one)
	@set -e; for t in $(if $(T),$(B)/tests/unit/test_$(T),$(TEST_BINS)); do \
	    echo "== $$t"; $$t; done

# The cluster's core in a fake world; see tests/cluster/world.h.
WORLD := $(filter-out tests/cluster/sim.c tests/cluster/scenario%,$(wildcard tests/cluster/*.c))
SCENARIOS := $(wildcard tests/cluster/scenario*.c)
CLUSTER_BINS := $(B)/tests/cluster/sim $(B)/tests/cluster/scenarios
$(B)/tests/cluster/sim: $(B)/tests/cluster/sim.o $(call obj,$(WORLD)) $(ARCHIVES)
$(B)/tests/cluster/scenarios: $(call obj,$(SCENARIOS)) $(call obj,$(WORLD)) $(ARCHIVES)
$(CLUSTER_BINS):
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

# A kmsd that tells a test what to look for; see tests/disclose.
WRAP := -Wl,--wrap=epoch_roots_generate,--wrap=keys_app,--wrap=wrap_key_generate
$(B)/kmsd-disclose: $(B)/kms/kmsd.o $(B)/tests/disclose/disclose.o $(ARCHIVES)
	$(CC) $(CFLAGS) $(LDFLAGS) $(WRAP) -o $@ $(filter %.o,$^) \
	    $(filter %.a,$^) $(LDLIBS)

# A fuzz target links with replay.c for the tests, with libFuzzer for fuzzing.
FUZZ := $(sort $(wildcard fuzz/fuzz_*.c))
FUZZ_BINS := $(FUZZ:%.c=$(B)/%)
$(B)/fuzz/fuzz_%: $(B)/fuzz/fuzz_%.o $(B)/fuzz/replay.o $(ARCHIVES)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

.PHONY: fuzz fuzz-cover
S ?= 20
FUZZ_NAMES := $(if $(T),$(T),$(FUZZ:fuzz/fuzz_%.c=%))
fuzz: ## fuzz every target for S seconds (T=name for one); a table at the end
	@$(MAKE) --no-print-directory -s -j2 CC=clang B=build/fuzz SAN=1 \
	    FUZZING=1 $(FUZZ_NAMES:%=build/fuzz/fuzzer_%)
	@fuzz/run.sh $(S) $(FUZZ_NAMES)
COVERED ?= common node kms
fuzz-cover: ## HTML: what the corpora cover (UNIT=1: with the unit tests)
	@$(MAKE) --no-print-directory -s -j2 CC=clang B=build/cover COVER=1 \
	    $(FUZZ:%.c=build/cover/%) $(if $(UNIT),$(TESTS:%.c=build/cover/%))
	@UNIT=$(UNIT) fuzz/cover.sh build/cover build/cover/html $(COVERED)
$(B)/fuzzer_%: $(B)/fuzz/fuzz_%.o $(ARCHIVES)
	$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

.PHONY: test check check-asan test-bins forge-build demo demo-rotate lint bench
test-bins: all $(TEST_BINS) $(FUZZ_BINS) $(B)/kmsd-disclose $(B)/chaos \
    $(B)/releases $(B)/light-ask $(CLUSTER_BINS)

forge-build:
	@contracts/tools/forge build --root contracts >/dev/null

test: deps-tests ## install, build with both compilers, run every test
	$(MAKE) -s lint
	$(MAKE) -s -j2 test-bins forge-build
	$(MAKE) -s -j2 CC=clang all
	$(MAKE) -s -j2 B=build/asan SAN=1 test-bins
	tests/run.sh unit build/asan corpora build/asan unit $(B) forge \
	    cluster $(B) 3000 model small e2e $(B) chaos $(B) 20

.PHONY: test-long
test-long: deps ## what takes an hour or so: many more random runs
	$(MAKE) -s -j2 test-bins forge-build
	ROUNDS=8 tests/run.sh cluster $(B) 100000 chaos $(B) 200 model all \
	    script $(B) tests/e2e/rotate_crash.sh

check: ## unit tests and corpora only, no network, no chain
	$(MAKE) -s -j2 test-bins
	tests/run.sh unit $(B) corpora $(B)

check-asan: ## the same under address and undefined-behaviour sanitizers
	$(MAKE) -s -j2 B=build/asan SAN=1 test-bins
	tests/run.sh unit build/asan corpora build/asan

demo: deps ## the whole story in one run (KEEP=1 leaves the cluster up)
	$(MAKE) -s -j2 all forge-build
	B=$(B) KEEP=$(KEEP) deploy/demo.sh

demo-rotate: deps ## the root rotated by a vote, twice (KEEP=1 as above)
	$(MAKE) -s -j2 all $(B)/kmsd-disclose forge-build
	B=$(B) KEEP=$(KEEP) deploy/demo-rotate.sh

example-%: deps-examples ## an app that runs: example-oracle (KEEP=1 as above)
	$(MAKE) -s -j2 all forge-build
	B=$(B) KEEP=$(KEEP) deploy/examples/$*/run.sh

# Clients of the counters, and the check of what they were told.
CHAOS := $(sort $(wildcard tests/chaos/*.c)) tests/lib/app_cvm.c \
    tests/lib/counter_client.c tests/lib/history.c
$(B)/chaos: $(call obj,$(CHAOS)) $(ARCHIVES)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

# An app that asks for its keys all the time, beside a rotation.
$(B)/releases: $(call obj,tests/load/releases.c tests/lib/app_cvm.c) $(ARCHIVES)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

# The gate, reading through whatever endpoint a test names.
$(B)/light-ask: $(B)/tests/lightclient/ask.o $(ARCHIVES)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

HOURS ?= 1
.PHONY: soak
soak: deps ## failing nodes under load for HOURS=n (0.17): is memory flat?
	$(MAKE) -s -j2 all $(B)/chaos forge-build
	tests/chaos/soak.sh $(B) $(HOURS)

BENCH := $(sort $(wildcard tests/bench/*.c)) tests/lib/app_cvm.c \
    tests/lib/counter_client.c tests/lib/rawhttp.c
# Plain raft beside ours, in one program; see tests/bench/bench_raft.c.
BENCH_WRAP := $(foreach f,seal_size seal_put seal_open \
    crypto_generichash_update crypto_generichash_final,-Wl,--wrap=$(f))
$(B)/bench: $(call obj,$(BENCH)) $(ARCHIVES)
	$(CC) $(CFLAGS) $(LDFLAGS) $(BENCH_WRAP) -o $@ $(filter %.o,$^) \
	    $(filter %.a,$^) $(LDLIBS)
bench: ## measure: JSON lines on stdout, a table on stderr
	@deploy/deps.sh >&2
	@$(MAKE) -s -j2 all $(B)/bench forge-build >&2
	@tests/bench/run.sh $(B)

.PHONY: model
model: deps ## check the protocol's models with spin
	tests/model/run.sh all

lint: ## format, layering, discouraged calls, cppcheck
	@tests/lint.sh

clean: ## remove everything that was built
	rm -rf build contracts/out contracts/cache

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.SECONDARY:
