# torc: one makefile for the library, its programs, its tests and its checks.  `make help` lists all.
#
# Sources are found by wildcard, so that a new file is built without a change here:
#   <layer>/*.[cS], <layer>/internal/*.[cS]   the library
#   io/programs, http/programs, bench         programs, see "Programs" below
#   examples                                  a program each
#   tests                                     see "Tests" below

VERSION := $(shell sed -n 's/^.define TORC_VERSION "\(.*\)"/\1/p' core/api.h)
SOVERSION := 0
LAYERS := core executor io http

MODE ?= release
PORT ?= 8080
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 30
SOAK_SECONDS ?= 600
SEEDS ?= 6000
TESTS ?= *

ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := $(if $(findstring clang,$(CC)),clang++,g++)
endif

SHELL := /bin/bash
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all

# All cores by default.  A -j on the command line wins over this, a parent's job server must not be replaced.
ifeq ($(filter -j% --jobserver%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif

Q := $(if $(filter 1,$(V)),,@)
ifneq ($(Q),)
say = @printf '  %-5s %s\n' $(1) $(2)
endif

# The fuzz targets want coverage in every object, hence a variant of their own.
ifneq ($(filter fuzz,$(MAKECMDGOALS)),)
ifneq ($(filter-out fuzz deps deps-ci,$(MAKECMDGOALS)),)
$(error `make fuzz` uses its own compiler and flags; run it alone)
endif
override CC := clang
override SAN := fuzzer-no-link,address,undefined
endif

# ---- Variants -------------------------------------------------------------------------------------------
#
# The default (release, gcc, no sanitizer) lives in build/ itself, every other in a directory below it that is
# named after what differs: build/debug, build/address-undefined, build/clang-thread ...

ifeq ($(filter $(MODE),release debug),)
$(error MODE=$(MODE): must be release or debug)
endif

comma := ,
empty :=
space := $(empty) $(empty)
COMPILER := $(notdir $(lastword $(CC)))
PARTS := $(filter-out gcc cc,$(COMPILER)) $(filter-out release,$(MODE)) \
	 $(if $(CHECK),check-$(CHECK)) $(subst $(comma),-,$(SAN))

BUILD ?= build
B := $(BUILD)$(addprefix /,$(subst $(space),-,$(strip $(PARTS))))

# ---- Flags ----------------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wwrite-strings \
	    -Wimplicit-fallthrough -Wundef -Wconversion $(if $(filter 1,$(WERROR)),-Werror)

# Sanitizers: half the time to compile, and a stack trace needs no more than lines.
OPTIMISE := $(if $(filter debug,$(MODE)),-Og -g3,$(if $(SAN),-O1 -g1,-O2 -g)) -fno-omit-frame-pointer

# One set of objects serves both libraries: position independent, as distributions link executables as PIE
# anyway.  What -fPIC would cost is switched off: initial-exec makes a thread-local one %fs-relative load (a
# linker relaxes it further in programs) instead of a call, and without semantic interposition calls inside
# the library stay direct and can be inlined.  The price of initial-exec is a little static TLS when the
# library is loaded by dlopen.
PIC := -fPIC -ftls-model=initial-exec -fno-semantic-interposition

# Sanitizers end the program on the first finding: Criterion's runner would swallow one that goes on.
SANITIZE := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all)

CPPFLAGS := -D_GNU_SOURCE -I$(B)/include -I. $(if $(filter debug,$(MODE)),-DTORC_DEBUG=1) \
	    $(if $(filter full,$(CHECK)),-DTORC_CHECK_FULL=1)
CFLAGS := -std=gnu17 -pthread $(OPTIMISE) $(PIC) -fvisibility=hidden $(SANITIZE) $(WARNINGS)
LDFLAGS := -pthread -Wl,--as-needed $(SANITIZE)
LIBS := -luring -lssl -lcrypto -lz -lbrotlienc -lbrotlidec -lzstd

ALL_CFLAGS := $(CPPFLAGS) $(CFLAGS) $(EXTRA_CFLAGS)
ALL_LDFLAGS := $(LDFLAGS) $(OPTIMISE) $(EXTRA_CFLAGS) $(EXTRA_LDFLAGS)

# ---- Files ----------------------------------------------------------------------------------------------

objects = $(patsubst %,$(B)/obj/%.o,$(basename $(1)))

LIB_DIRS := $(LAYERS) $(addsuffix /internal,$(LAYERS)) core/sim executor/process
LIB_OBJ := $(call objects,$(foreach d,$(LIB_DIRS),$(wildcard $(d)/*.c $(d)/*.S)))
PUBLIC_HEADERS := $(wildcard torc.h $(addsuffix /*.h,$(LAYERS)))

STATIC_LIB := $(B)/lib/libtorc.a
SHARED_LIB := $(if $(LIB_OBJ),$(B)/lib/libtorc.so.$(VERSION))
SONAME := libtorc.so.$(SOVERSION)

# ---- Programs -------------------------------------------------------------------------------------------
#
# Each program that has a main file exists; the rest of io/programs is shared by all, and of http/programs each has the
# files that begin with its name.

OPTIONS_OBJ := $(call objects,$(filter-out io/programs/torc-%,$(wildcard io/programs/*.c)))
HTTPD_OBJ := $(call objects,$(wildcard http/programs/httpd_*.c))
LOAD_OBJ := $(call objects,$(wildcard http/programs/load_*.c))
BENCH_OBJ := $(call objects,$(wildcard bench/micro_*.c bench/http_parse.c))
EXAMPLES := $(patsubst examples/%.c,$(B)/examples/%,$(wildcard examples/*.c))
RAW_BENCH := $(patsubst bench/%.c,%,$(wildcard bench/raw_echo.c bench/raw_http.c bench/raw_udp.c \
	     bench/echo_load.c bench/udp_load.c bench/proxy_load.c bench/file_load.c bench/tls_load.c bench/http_server.c \
	     bench/http_client.c))

PROGRAMS := $(patsubst %.c,$(B)/bin/%,$(notdir $(wildcard \
	    io/programs/torc-*.c http/programs/torc-*.c bench/torc-bench.c)))
BENCH_PROGRAMS := $(patsubst %,$(B)/bin/bench-%,$(subst _,-,$(RAW_BENCH)))

# ---- Tests ----------------------------------------------------------------------------------------------

TEST_OBJ := $(call objects,$(wildcard tests/support/*.c))
UNIT_SRC := $(foreach l,$(LAYERS),$(wildcard tests/$(l)/*.c))
STRESS_SRC := $(wildcard tests/stress/*.c)
SIM_SRC := tests/sim/core.c tests/sim/executor.c tests/sim/serve.c tests/sim/conform.c
CROSS_SRC := $(wildcard tests/cross/*.c)
FUZZ_SRC := $(wildcard tests/fuzz/*.c)

# build/tests/core-fiber from tests/core/fiber.c
test_programs = $(addprefix $(B)/tests/,$(subst /,-,$(patsubst tests/%.c,%,$(1))))
UNIT_TESTS := $(call test_programs,$(UNIT_SRC))
STRESS_TESTS := $(call test_programs,$(STRESS_SRC))
SIM_TESTS := $(call test_programs,$(SIM_SRC))
CROSS_TESTS := $(call test_programs,$(CROSS_SRC))
FUZZ_TESTS := $(call test_programs,$(FUZZ_SRC))
SYSTEM_TESTS := $(sort $(shell find tests/system -maxdepth 1 -type f -executable 2>/dev/null))
CHECKS := $(addprefix tests/check/,layers headers exports readme)

# Criterion does not start under TSan, so that variant is for the plain stress programs; the other sanitizers
# are for the unit tests; what tests files and programs from outside is for the release variant.
ifneq ($(findstring thread,$(SAN)),)
TEST_SET := $(STRESS_TESTS)
else ifneq ($(SAN),)
TEST_SET := $(UNIT_TESTS) $(SIM_TESTS)
else
TEST_SET := $(UNIT_TESTS) $(SIM_TESTS) $(STRESS_TESTS) $(SYSTEM_TESTS) $(CHECKS)
endif

# ---- Targets --------------------------------------------------------------------------------------------

.PHONY: all lib programs tests test unit stress sim system check check-inline check-style check-layers check-testssl soak format fuzz cross \
	bench bench-peers serve cert install clean help deps deps-ci FORCE

all: lib programs

lib: $(STATIC_LIB) $(if $(SHARED_LIB),$(B)/lib/libtorc.so) $(B)/lib/pkgconfig/torc.pc

programs: $(PROGRAMS) $(BENCH_PROGRAMS) $(EXAMPLES)

tests: $(UNIT_TESTS) $(STRESS_TESTS) $(SIM_TESTS)

run_tests = $(Q)BUILD_DIR='$(B)' SEEDS='$(SEEDS)' CC='$(CC)' CXX='$(CXX)' SAN='$(SAN)' FUZZ_SECONDS='$(FUZZ_SECONDS)' \
	    tests/run --only '$(TESTS)' $(1)

test: $(if $(SAN),,all) $(filter $(UNIT_TESTS) $(STRESS_TESTS) $(SIM_TESTS),$(TEST_SET))
	$(call run_tests,$(TEST_SET))

unit: $(UNIT_TESTS)
	$(call run_tests,$^)

stress: $(STRESS_TESTS)
	$(call run_tests,$^)

sim: $(SIM_TESTS)
	$(call run_tests,$^)

soak: $(STRESS_TESTS)
	$(Q)end=$$((SECONDS + $(SOAK_SECONDS))); while ((SECONDS < end)); do \
		BUILD_DIR='$(B)' SAN='$(SAN)' tests/run --only '$(TESTS)' $^ || exit; done

system: programs
	$(call run_tests,$(SYSTEM_TESTS))

check: all
	$(call run_tests,$(CHECKS))

check-inline: all
	$(call run_tests,tests/check/inline)

check-layers: | $(B)/flags
	$(call run_tests,tests/check/layers)

# TLS as testssl.sh sees it; takes minutes.
check-testssl: programs
	$(Q)BIN='$(abspath $(B))/bin' tests/check/testssl

check-style: | $(B)/flags
	$(call run_tests,tests/check/style)

format: | $(B)/flags
	$(Q)tests/check/style --fix

fuzz: $(FUZZ_TESTS)
	$(call run_tests,$^)

cross: $(CROSS_TESTS)
	$(call run_tests,$^)

# Servers on one core, load on the other: nothing else should run meanwhile.
bench: programs
	$(Q)$(B)/bin/torc-bench all
	$(Q)bench/compare --bin $(B)/bin --rounds 5 --seconds 5 all

# The same small programs in Go and with boost.fiber, side by side; then pools of threads, and of processes.
bench-peers: programs
	$(Q)bench/peers/run --build $(B)
	@echo
	$(Q)bench/peers/pool --build $(B)
	@echo
	$(Q)bench/peers/processes --build $(B)
	@echo
	$(Q)bench/peers/proxies --build $(B)
	@echo
	$(Q)bench/peers/connections --build $(B)
	@echo
	$(Q)bench/peers/files --build $(B) --file $(B)/peers/random
	@echo
	$(Q)bench/peers/tls --build $(B)
	@echo
	$(Q)bench/peers/http --build $(B)
	@echo
	$(Q)bench/peers/http-client --build $(B)

# In a terminal the server becomes the foreground job, so that ^C reaches it and not make too: make would die
# of the signal where the server drains and exits 0.  Should make be killed, the server gets a SIGTERM.
serve: $(B)/bin/torc-httpd
	$(Q)if [ -t 0 ]; then set -m; setpriv --pdeathsig TERM $< --listen 127.0.0.1:$(PORT); \
	else exec $< --listen 127.0.0.1:$(PORT); fi

# For development only: it is signed by itself, so nobody should believe it. One that is valid for another day stays.
CERT_NAMES := DNS:localhost,IP:127.0.0.1,IP:::1

cert: | $(B)/flags
	$(Q)cd $(BUILD) && if openssl x509 -noout -checkend 86400 -in cert.pem >/dev/null 2>&1 && \
		[[ "$$(openssl x509 -noout -pubkey -in cert.pem)" == "$$(openssl pkey -pubout -in key.pem 2>&1)" ]]; then \
		echo "$(BUILD)/cert.pem and $(BUILD)/key.pem are still valid"; \
	else \
		umask 077 && rm -f cert.pem key.pem && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
			-keyout key.pem -out cert.pem -days 30 -subj /CN=localhost -addext subjectAltName=$(CERT_NAMES) && \
		chmod 644 cert.pem && echo "$(BUILD)/cert.pem and $(BUILD)/key.pem are for localhost, 30 days"; \
	fi
	@echo "FOR DEVELOPMENT ONLY: signed by itself, and its key lies in the build directory."
	@echo "  $(BUILD)/bin/torc-httpd --listen 127.0.0.1:8443 --tls-cert $(BUILD)/cert.pem --tls-key $(BUILD)/key.pem"
	@echo "  curl --cacert $(BUILD)/cert.pem https://localhost:8443/"

# Everything else waits for these, see FIRST below.
goals_match = $(filter $(1),$(MAKECMDGOALS))
DEPS := build \
	$(if $(call goals_match,test tests unit stress sim system check soak bench),test) \
	$(if $(call goals_match,check-style format),style) \
	$(if $(call goals_match,cert check-testssl),tls) \
	$(if $(call goals_match,fuzz cross check-inline),ci) \
	$(if $(call goals_match,bench-peers),peers)

deps:
	$(Q)tests/check/deps $(DEPS)

deps-ci:
	$(Q)tests/check/deps build test style ci

clean:
	$(Q)rm -rf $(BUILD)

help:
	@sed -n 's/^#? \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

#? Targets
#?   all           the library and the programs (default)
#?   lib programs  only these; static and shared library in build/lib, programs in build/bin
#?   serve         build, then run the HTTP server on PORT until SIGINT or SIGTERM
#?   cert          BUILD/cert.pem and key.pem, signed by itself, for localhost: for development only
#?   test          build all, run the unit, simulated, stress and system tests and the checks
#?   unit stress sim system check
#?                 one part of `test`; check = layers, headers, exports, README example
#?   sim           SEEDS random scenarios of each kind on the simulated kernel, and the seeds of past defects;
#?                 and does that kernel do what Linux does?
#?   soak          the stress tests again and again, for SOAK_SECONDS; also with SAN=thread
#?   check-inline  the functions of core/gen.h that are in line, compiled in many ways by gcc and clang
#?   check-layers  is each #include its own layer's or a lower one's?
#?   check-testssl what testssl.sh finds in torc-httpd's TLS; takes minutes
#?   check-style   is the source formatted?  (clang-format)
#?   format        format it
#?   fuzz          build the fuzz targets with clang, run each for FUZZ_SECONDS
#?   cross         run tests/cross on an emulated AArch64
#?   bench         measure: micro benchmarks, then the servers beside hand-written io_uring loops
#?   bench-peers   measure torc, Go and boost.fiber side by side, on one core and on two; pools of threads:
#?                 torc, oneTBB, libgomp, Go and Python; pools of processes: torc, fork+pipe and Python; proxies,
#?                 connections, files and TLS beside haproxy and nginx; HTTP beside nginx, h2o and Go, its client
#?                 beside libcurl, Go and wrk
#?   deps          install the Debian packages that the other targets on the command line need
#?   deps-ci       install all packages that .ci/run needs
#?   install       headers, libraries, pkg-config file, programs and man pages, to DESTDIR/PREFIX
#?   clean         remove every variant
#?
#? Variables
#?   MODE=release|debug           debug: -Og and TORC_DEBUG
#?   CHECK=full                   validate whole structures (TORC_CHECK_FULL)
#?   SAN=address,undefined        sanitizers; `make test SAN=...` runs the unit tests,
#?   SAN=thread                   the stress tests under ThreadSanitizer
#?   CC=gcc|clang CXX=g++|clang++
#?   EXTRA_CFLAGS= EXTRA_LDFLAGS= added to the flags
#?   WERROR=1                     warnings are errors
#?   V=1                          show the commands
#?   TESTS='core-* http-*'        run only the tests with these names
#?   PORT=8080                    for serve
#?   PREFIX=/usr/local DESTDIR=   for install
#?   FUZZ_SECONDS=30              for fuzz, per target
#?   SOAK_SECONDS=600             for soak
#?   SEEDS=6000                   for sim, per scenario
#?   BUILD=build                  where to build; each variant has a directory of its own there
#?
#? A single unit test: build/tests/io-stream --filter 'stream/*half*' --verbose

# ---- Rules ----------------------------------------------------------------------------------------------

# Goals that have to be complete before anything is built, also when make runs jobs in parallel.
FIRST := $(filter clean deps deps-ci,$(MAKECMDGOALS))
ifneq ($(filter clean,$(FIRST)),)
deps deps-ci: | clean
endif

# Rewritten only when the flags differ from those of the last build, and then everything is rebuilt.
# It also makes <torc/core/fiber.h> work in the tree, by a link to the tree itself; relative, so that the tree
# can be moved.  (Not a target of its own: `make clean all` would believe that the old link is still there.)
$(B)/flags: FORCE | $(FIRST)
	@mkdir -p $(B)/include
	@[[ $(B)/include/torc -ef . ]] || \
		ln -sfn "$$(realpath -m --relative-to=$(B)/include .)" $(B)/include/torc
	@printf '%s\n' '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' | cmp -s - $@ || \
		printf '%s\n' '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' >$@

define compile
@mkdir -p $(@D)
$(call say,CC,$<)
$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
endef

$(B)/obj/%.o: %.c $(B)/flags
	$(compile)

$(B)/obj/%.o: %.S $(B)/flags
	$(compile)

$(STATIC_LIB): $(LIB_OBJ) $(B)/flags
	@mkdir -p $(@D) && rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $(LIB_OBJ)

# A sanitizer's runtime is in the program, not in the library: no -z defs there.
$(B)/lib/libtorc.so.$(VERSION): $(LIB_OBJ) $(B)/flags
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) -Wl,-Bsymbolic-functions $(if $(SAN),,-Wl$(comma)-z$(comma)defs) \
		$(ALL_LDFLAGS) -o $@ $(LIB_OBJ) $(LIBS)

$(B)/lib/libtorc.so: $(SHARED_LIB)
	$(Q)ln -sf $(notdir $<) $(@D)/$(SONAME) && ln -sf $(SONAME) $@

pc = sed -e 's|@PREFIX@|$(1)|' -e 's|@VERSION@|$(VERSION)|' torc.pc.in

# For use from the build directory: PKG_CONFIG_PATH=build/lib/pkgconfig
$(B)/lib/pkgconfig/torc.pc: torc.pc.in $(B)/flags
	@mkdir -p $(@D)
	@$(call pc,$(abspath $(B))) >$@

define link
@mkdir -p $(@D)
$(call say,LD,$@)
$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS)
endef

$(B)/bin/torc-%: $(B)/obj/io/programs/torc-%.o $(OPTIONS_OBJ) $(STATIC_LIB)
	$(link)

$(B)/bin/torc-httpd: $(B)/obj/http/programs/torc-httpd.o $(HTTPD_OBJ) $(OPTIONS_OBJ) $(STATIC_LIB)
	$(link)

$(B)/bin/torc-load: $(B)/obj/http/programs/torc-load.o $(LOAD_OBJ) $(OPTIONS_OBJ) $(STATIC_LIB)
	$(link) -lm

$(B)/examples/%: $(B)/obj/examples/%.o $(STATIC_LIB)
	$(link)

$(B)/bin/torc-bench: $(B)/obj/bench/torc-bench.o $(BENCH_OBJ) $(STATIC_LIB)
	$(link)

$(B)/bin/bench-raw-echo: $(B)/obj/bench/raw_echo.o
	$(link)

$(B)/bin/bench-raw-http: $(B)/obj/bench/raw_http.o
	$(link)

$(B)/bin/bench-echo-load: $(B)/obj/bench/echo_load.o
	$(link)

$(B)/bin/bench-proxy-load: $(B)/obj/bench/proxy_load.o
	$(link)

$(B)/bin/bench-tls-load: $(B)/obj/bench/tls_load.o
	$(link)

$(B)/bin/bench-udp-load: $(B)/obj/bench/udp_load.o
	$(link)

$(B)/bin/bench-raw-udp: $(B)/obj/bench/raw_udp.o
	$(link)

$(B)/bin/bench-file-load: $(B)/obj/bench/file_load.o $(STATIC_LIB)
	$(link)

$(B)/bin/bench-http-server: $(B)/obj/bench/http_server.o $(STATIC_LIB)
	$(link)

$(B)/bin/bench-http-client: $(B)/obj/bench/http_client.o $(STATIC_LIB)
	$(link)

define test_program
$(call test_programs,$(1)): $(call objects,$(1)) $(TEST_OBJ) $(STATIC_LIB)
	$$(link) $(2)
endef

$(foreach s,$(UNIT_SRC) $(STRESS_SRC) $(SIM_SRC),$(eval $(call test_program,$(s),-lcriterion -lm $(if $(filter tests/http/compress.c,$(s)),-lbrotlidec))))
$(foreach s,$(FUZZ_SRC),$(eval $(call test_program,$(s),-fsanitize=fuzzer)))

# A cross test includes the C sources that it tests; the assembly is linked in here.  liburing does not exist
# for the other architecture, so this stays below the ring.
CROSS_CC ?= aarch64-linux-gnu-gcc
CROSS_ASM := $(wildcard core/*.S core/internal/*.S)
CROSS_SEEN := $(wildcard core/*.[ch] core/internal/*.h http/internal/*.[ch] tests/check/*.c tests/http/*.h)

$(CROSS_TESTS): $(B)/tests/cross-%: tests/cross/%.c $(CROSS_ASM) $(CROSS_SEEN) $(B)/flags
	@mkdir -p $(@D)
	$(call say,CROSS,$<)
	$(Q)$(CROSS_CC) $(CPPFLAGS) $(CFLAGS) -static -o $@ $< $(CROSS_ASM)

install: all
	install -d $(foreach d,bin lib/pkgconfig share/man/man1 $(addprefix include/torc/,$(LAYERS)),$(DESTDIR)$(PREFIX)/$(d))
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 docs/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 $(STATIC_LIB) $(SHARED_LIB) $(DESTDIR)$(PREFIX)/lib
	ln -sf $(notdir $(SHARED_LIB)) $(DESTDIR)$(PREFIX)/lib/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(PREFIX)/lib/libtorc.so
	for h in $(PUBLIC_HEADERS); do install -m 644 $$h $(DESTDIR)$(PREFIX)/include/torc/$$h || exit 1; done
	$(call pc,$(PREFIX)) >$(DESTDIR)$(PREFIX)/lib/pkgconfig/torc.pc

# Headers as prerequisites, as the compiler found them.
-include $(patsubst %.o,%.d,$(LIB_OBJ) $(OPTIONS_OBJ) $(HTTPD_OBJ) $(LOAD_OBJ) $(BENCH_OBJ) $(TEST_OBJ) \
	 $(call objects,$(wildcard io/programs/torc-*.c http/programs/torc-*.c bench/*.c examples/*.c) \
	 $(UNIT_SRC) $(STRESS_SRC) $(SIM_SRC) $(FUZZ_SRC)))
