# devproof-kms: every target that a developer or CI runs.  `make help`.
#
#   make CC=clang            the other compiler
#   make B=build/asan SAN=1  with address and undefined-behaviour sanitizers
#                            (SAN=thread, SAN=memory: with those)

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
comma := ,
SANITIZE := $(if $(filter 1,$(SAN)),address$(comma)undefined,$(SAN))
ifneq ($(SAN),)
HARDEN := -fPIE -fno-omit-frame-pointer
OPT := -O1 -g -fsanitize=$(SANITIZE)
OPT += $(if $(filter 1,$(SAN)),-fno-sanitize-recover=undefined)
endif
ifneq ($(COVER),)
OPT := -O1 -g -fprofile-instr-generate -fcoverage-mapping
endif
ifneq ($(FUZZING),)
OPT += -fsanitize=fuzzer-no-link
endif
CPPFLAGS += -D_GNU_SOURCE -I. -I$(B)/gen
CFLAGS += -std=c2x $(WARN) $(HARDEN) $(OPT)
LDFLAGS += -pie -Wl,-z,relro,-z,now $(SAN:%=-fsanitize=$(SANITIZE))
LDLIBS := -lnng -luv -lraft -llmdb -lcurl -ljansson -lcyaml -lcbor \
    -lprotobuf-c -lseccomp -lsecp256k1 -lsodium -lssl -lcrypto -lz -lpthread

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
.PHONY: deps-fuzz
deps-fuzz: ## what fuzzing needs, AFL++ with it
	@deploy/deps.sh --fuzz

$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: %.proto
	@mkdir -p $(@D)
	protoc-c --c_out=$(B)/gen $<

# Generated code is not ours to warn about.
$(B)/gen/%.o: $(B)/gen/%.c
	$(CC) -D_GNU_SOURCE -I$(B)/gen -std=gnu11 $(OPT) -fPIE -c $< -o $@

# Coverage knows a static function by its file's name, of which there may be
# two: it is given the path.
$(B)/%.o: %.c | $(GEN_H)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(if $(COVER),-Xclang -main-file-name -Xclang $<) \
	    -MMD -MP -c $< -o $@

# What a sanitizer is told of libraries: tests/checks/tsan.c.
ifeq ($(SAN),thread)
SAN_GLUE := $(B)/tests/checks/tsan.o
LDFLAGS += -Wl,--wrap=uv_async_init,--wrap=uv_async_send \
    -Wl,--wrap=pthread_mutex_destroy
endif
ifeq ($(SAN),memory)
SAN_GLUE := $(B)/tests/checks/msan.o $(B)/msan_calls.o
LDFLAGS += -Wl,@$(B)/msan_calls.wrap
$(B)/msan_calls.o: tests/checks/msan.sh tests/checks/msan.c
	@mkdir -p $(@D)
	CC=$(CC) tests/checks/msan.sh $(@:.o=.S) $(@:.o=.wrap)
	$(CC) -c $(@:.o=.S) -o $@
endif

$(B)/libcommon.a: $(call obj,$(COMMON)) $(GEN_O) $(SAN_GLUE)
$(B)/libnode.a: $(call obj,$(NODE))
$(B)/libkms.a: $(call obj,$(KMS))
$(ARCHIVES) $(B)/libfuzzing.a:
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

# Those whose allocations can be made to fail; see tests/lib/nomem.
NOMEM := $(call obj,$(wildcard tests/lib/nomem/*.c))
NOMEM_WRAP := $(foreach f,malloc calloc realloc free strdup strndup \
    sodium_malloc sodium_free,-Wl,--wrap=$(f))
# The request table alone: its replies are caught, its workers run at once.
$(B)/tests/unit/test_nomem_service: NOMEM_WRAP += $(foreach f,uv_queue_work \
    channel_server_reply channel_server_drop core_step core_next \
    clock_wall_s,-Wl,--wrap=$(f))
# Named, for of two patterns make takes the one whose objects are there.
$(filter $(B)/tests/unit/test_nomem_%,$(TESTS:%.c=$(B)/%)): \
    $(B)/tests/unit/test_nomem_%: $(B)/tests/unit/test_nomem_%.o \
    $(call obj,$(TEST_LIB)) $(NOMEM) $(ARCHIVES)
	$(CC) $(CFLAGS) $(LDFLAGS) -rdynamic $(NOMEM_WRAP) -o $@ $(filter %.o,$^) \
	    $(ARCHIVES) -Wl,--no-as-needed -lcriterion -lnanomsg $(LDLIBS)

# The same tests without Criterion's runner, for the checkers that cannot bear
# it; see tests/checks/plain.c.
$(B)/tests/plain/test_%: $(B)/tests/unit/test_%.o \
    $(call obj,tests/checks/plain.c $(TEST_LIB)) $(ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

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
WRAP := $(foreach f,epoch_roots_generate keys_app wrap_key_generate keys_anchor \
    noise_init noise_split seal_init secret_process_init harden_process \
    setrlimit prctl,-Wl,--wrap=$(f))
$(B)/kmsd-disclose: $(B)/kms/kmsd.o $(B)/tests/disclose/disclose.o $(ARCHIVES)
	$(CC) $(CFLAGS) $(LDFLAGS) $(WRAP) -o $@ $(filter %.o,$^) \
	    $(filter %.a,$^) $(LDLIBS)

# Finds what was disclosed, in a process or a core.
$(B)/memsearch: $(B)/tests/disclose/search.o $(B)/libcommon.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# Constant time and wiped memory: tests/ctime.  The objects are those of the
# programs, but for the few that tell valgrind what may be known.
CT_CASES := $(call obj,$(wildcard tests/ctime/cases_*.c))
CT_MARKED := $(patsubst %.c,$(B)/ct/%.o,$(shell grep -lr --include=*.c CT_PUBLIC common node kms))
$(B)/ct/%.o: %.c | $(GEN_H)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -DCT_CHECK $(CFLAGS) -MMD -MP -c $< -o $@
$(B)/ctime: $(B)/tests/ctime/ctime.o $(CT_CASES) $(CT_MARKED) $(ARCHIVES)
$(B)/wiped: $(B)/tests/ctime/wiped.o $(CT_CASES) $(ARCHIVES)
$(B)/wiped: CT_WRAP := -Wl,--wrap=secret_wipe -Wl,--wrap=secret_wipe_stack
$(B)/ctime $(B)/wiped:
	$(CC) $(CFLAGS) $(LDFLAGS) -rdynamic -Wl,--wrap=secret_random $(CT_WRAP) -o $@ \
	    $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

# A fuzz target links with replay.c for the tests, with libFuzzer for fuzzing.
FUZZ := $(sort $(wildcard fuzz/fuzz_*.c))
FUZZ_BINS := $(FUZZ:%.c=$(B)/%)
# What targets share, and the worlds of tests that some run in.
FUZZING_C := $(filter-out fuzz/fuzz_% fuzz/service_world.c fuzz/replay.c fuzz/afl.c,$(wildcard fuzz/*.c))
$(B)/libfuzzing.a: $(call obj,$(FUZZING_C) $(WORLD) $(TEST_LIB))
FUZZ_LIB := $(B)/libfuzzing.a $(ARCHIVES)
# This one is there in place of parts of kms, so it is linked by name.
FUZZ_SERVICE := public service
$(foreach p,fuzz/fuzz_ fuzzer_ afl_,$(FUZZ_SERVICE:%=$(B)/$(p)%)): $(B)/fuzz/service_world.o
$(B)/fuzz/fuzz_%: $(B)/fuzz/fuzz_%.o $(B)/fuzz/replay.o $(FUZZ_LIB)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

.PHONY: fuzz fuzz-cover
S ?= 20
FUZZ_NAMES := $(if $(T),$(T),$(FUZZ:fuzz/fuzz_%.c=%))
.PHONY: fuzz-names
fuzz-names:
	@for t in $(FUZZ_NAMES); do [ -f "fuzz/fuzz_$$t.c" ] || \
	    { echo "no target $$t; there are:" $(FUZZ:fuzz/fuzz_%.c=%) >&2; exit 2; }; done
fuzz: fuzz-names ## fuzz every target for S seconds (T=name for one); a table at the end
	@$(MAKE) --no-print-directory -s -j2 CC=clang B=build/fuzz SAN=1 \
	    FUZZING=1 $(FUZZ_NAMES:%=build/fuzz/fuzzer_%)
	@fuzz/run.sh $(S) $(FUZZ_NAMES)

.PHONY: fuzz-afl
fuzz-afl: fuzz-names ## the same under AFL++ (from make deps-fuzz)
	@command -v afl-clang-fast >/dev/null || \
	    { echo "no afl-clang-fast here: make deps-fuzz" >&2; exit 2; }
	@AFL_QUIET=1 AFL_DONT_OPTIMIZE=1 $(MAKE) --no-print-directory -s -j2 \
	    CC=afl-clang-fast B=build/afl SAN=1 $(FUZZ_NAMES:%=build/afl/afl_%)
	@fuzz/afl.sh $(S) $(FUZZ_NAMES)
$(B)/afl_%: $(B)/fuzz/fuzz_%.o $(B)/fuzz/afl.o $(FUZZ_LIB)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

# Bug N of fuzz/proof.sh, in T: the one file that has it is compiled anew and
# linked in front of the archives.
.PHONY: fuzz-proof
fuzz-proof: ## do the fuzzers find bugs put in on purpose? (N=n for one)
	@fuzz/proof.sh list $(N) >/dev/null
	@$(MAKE) --no-print-directory -s -j2 CC=clang B=build/fuzz SAN=1 \
	    FUZZING=1 $$(fuzz/proof.sh targets $(N) | sed 's,^,build/fuzz/fuzzer_,')
	@fuzz/proof.sh run $(N)
build/plant/$(N)/fuzzer: $(PLANT_IN) $(B)/fuzz/fuzz_$(T).o \
    $(if $(filter $(T),$(FUZZ_SERVICE)),$(B)/fuzz/service_world.o) $(FUZZ_LIB)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -DPLANT=$(N) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer \
	    -o $@ $^ $(LDLIBS)

.PHONY: fuzz-min
fuzz-min: fuzz-names ## corpora: take what is new in, leave what is not needed out
	@$(MAKE) --no-print-directory -s -j2 CC=clang B=build/fuzz SAN=1 \
	    FUZZING=1 $(FUZZ_NAMES:%=build/fuzz/fuzzer_%)
	@fuzz/min.sh $(FUZZ_NAMES)

COVERED ?= common node kms
fuzz-cover: ## HTML: what the corpora cover (UNIT=1: with the unit tests)
	@$(MAKE) --no-print-directory -s -j2 CC=clang B=build/cover COVER=1 \
	    $(FUZZ:%.c=build/cover/%) $(if $(UNIT),$(TESTS:%.c=build/cover/%))
	@UNIT=$(UNIT) fuzz/cover.sh build/cover build/cover/html $(COVERED)
$(B)/fuzzer_%: $(B)/fuzz/fuzz_%.o $(FUZZ_LIB)
	$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $(filter %.o,$^) \
	    $(filter %.a,$^) $(LDLIBS)

# T=all: every unit test, not only those of the folders.
FOLDERS ?= common/wire common/attest common/eth node/channel kms/gate kms/keys
UNITS = $(if $(filter all,$(T)),$(TESTS:tests/unit/test_%.c=%),$(if $(T),$(T),\
    $(shell tests/coverage.sh --units $(FOLDERS))))
TARGETS ?= $(FUZZ:fuzz/fuzz_%.c=%)
.PHONY: coverage
coverage: ## corpora and unit tests together: 90 % of FOLDERS? (T, TARGETS: some)
	@$(MAKE) --no-print-directory -s -j2 CC=clang B=build/cover COVER=1 \
	    $(TARGETS:%=build/cover/fuzz/fuzz_%) $(UNITS:%=build/cover/tests/unit/test_%)
	@TARGETS="$(TARGETS)" UNITS="$(UNITS)" tests/coverage.sh build/cover $(FOLDERS)

.PHONY: test check check-asan test-bins forge-build demo demo-rotate lint bench
test-bins: all $(TEST_BINS) $(FUZZ_BINS) $(B)/kmsd-disclose $(B)/chaos \
    $(B)/releases $(B)/flood $(B)/light-ask $(CLUSTER_BINS) \
    $(B)/memsearch $(if $(SAN),,$(B)/ctime $(B)/wiped)

forge-build:
	@contracts/tools/forge build --root contracts >/dev/null

test: deps-tests ## install, build with both compilers, run every test
	$(MAKE) -s lint
	$(MAKE) -s -j2 test-bins forge-build
	$(MAKE) -s -j2 check-analyzer check-tidy-quick
	$(MAKE) -s -j2 CC=clang all
	$(MAKE) -s -j2 B=build/asan SAN=1 test-bins
	tests/run.sh unit build/asan corpora build/asan unit $(B) forge \
	    script $(B) tests/ctime/run.sh cluster $(B) 3000 model small \
	    e2e $(B) chaos $(B) 20

# Checkers; their lists, their suppressions, each with its reason, and what
# they cost: tests/checks.
listed = $(shell sed 's/\#.*//' tests/checks/$(1).list)
.PHONY: check-tsan
check-tsan: ## the unit tests that have threads, under ThreadSanitizer
	$(MAKE) -s -j2 CC=clang B=build/tsan SAN=thread \
	    $(patsubst %,build/tsan/tests/plain/test_%,$(call listed,tsan))
	SLOW=4 tests/run.sh plain build/tsan tests/checks/tsan.list

.PHONY: check-msan check-valgrind
check-msan: ## unit tests and corpora under MemorySanitizer
	$(MAKE) -s -j2 CC=clang B=build/msan SAN=memory build/msan/planted \
	    $(patsubst %,build/msan/tests/plain/test_%,$(call listed,msan)) \
	    $(FUZZ:%.c=build/msan/%)
	CHECKER=memory SLOW=10 tests/run.sh script build/msan tests/checks/planted.sh \
	    corpora build/msan plain build/msan tests/checks/msan.list
VALGRIND := valgrind -q --error-exitcode=99 --leak-check=full \
    --show-leak-kinds=definite --errors-for-leak-kinds=definite \
    --child-silent-after-fork=no --num-callers=24 \
    --suppressions=tests/checks/valgrind.supp
check-valgrind: ## unit tests under valgrind: memory, and what is lost
	$(MAKE) -s -j2 $(B)/planted \
	    $(patsubst %,$(B)/tests/plain/test_%,$(call listed,valgrind))
	CHECKER=valgrind UNDER='$(VALGRIND)' SLOW=50 JOBS=2 tests/run.sh \
	    script $(B) tests/checks/planted.sh \
	    plain $(B) tests/checks/valgrind.list

# Faults made on purpose, for the checkers to find.
$(B)/planted: $(B)/tests/checks/planted.o $(ARCHIVES)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

.PHONY: check-cppcheck
check-cppcheck: ## cppcheck over the product; make lint has it, too
	nice -n 5 cppcheck --quiet --std=c11 --language=c -j2 -I. \
	    --enable=warning,portability,performance --inline-suppr \
	    --include=tests/checks/cppcheck.h \
	    --suppressions-list=tests/checks/cppcheck.supp \
	    --error-exitcode=1 $(CHECKED)

# One object or stamp a file, so that only what changed is looked at again.
CHECKED := $(COMMON) $(NODE) $(KMS) $(MAINS)
.PHONY: check-analyzer check-tidy check-tidy-quick
check-analyzer: $(CHECKED:%.c=$(B)/analyzer/%.o) ## gcc -fanalyzer over the product
# gcc 12 is wrong about these: a struct that a library returns (cborrd), an
# array that stays when growing it fails (audit_read), memory that is handed
# over inside a struct (recheck).
$(B)/analyzer/common/attest/cborrd.o: NOT := -Wno-analyzer-use-of-uninitialized-value
$(B)/analyzer/kms/ctl/audit_read.o: NOT := -Wno-analyzer-double-free
$(B)/analyzer/kms/service/recheck.o: NOT := -Wno-analyzer-malloc-leak
$(B)/analyzer/%.o: %.c | $(GEN_H)
	@mkdir -p $(@D)
	nice -n 5 gcc $(CPPFLAGS) -std=c2x -O1 -fanalyzer -Werror $(NOT) \
	    -MMD -MP -c $< -o $@

check-tidy: $(CHECKED:%.c=$(B)/tidy/%.ok) ## clang-tidy with clang's analyser (.clang-tidy)
check-tidy-quick: $(CHECKED:%.c=$(B)/tidy-quick/%.ok) ## the same without the analyser
TIDY = @mkdir -p $(@D); nice -n 5 clang-tidy --quiet $(1) $< -- \
    $(CPPFLAGS) -std=c2x 2>/dev/null && \
    gcc $(CPPFLAGS) -std=c2x -MM -MP -MT $@ -MF $(@:.ok=.d) $< && touch $@
$(B)/tidy/%.ok: %.c .clang-tidy | $(GEN_H)
	$(call TIDY,)
$(B)/tidy-quick/%.ok: %.c .clang-tidy | $(GEN_H)
	$(call TIDY,'--checks=-clang-analyzer-*')

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

.PHONY: check-ctime
check-ctime: ## no branch on a secret, no copy left of one (T=word for some)
	$(MAKE) -s -j2 $(B)/ctime $(B)/wiped
	@tests/ctime/list.sh
	B=$(B) tests/ctime/run.sh $(T)

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

# A source that begins handshakes without end, and means none.
$(B)/flood: $(B)/tests/load/flood.o $(B)/libnode.a $(B)/libcommon.a
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

.PHONY: flood
flood: ## measure: bogus handshakes beside warm releases; JSON lines
	@$(MAKE) -s -j2 all $(B)/bench $(B)/flood forge-build >&2
	@tests/bench/flood.sh $(B)
	@SOURCE=127.0.4.0+250 tests/bench/flood.sh $(B)

.PHONY: model
model: deps ## check the protocol's models with spin
	tests/model/run.sh all

lint: ## format, layering, discouraged calls, cppcheck
	@tests/lint.sh

clean: ## remove everything that was built
	rm -rf build contracts/out contracts/cache

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.SECONDARY:
