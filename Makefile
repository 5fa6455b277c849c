# make [all]      build/release/libspangc.so, and a copy of it here     V=1 shows the commands
# make test       layers, symbols, functions, then every folder of tests      T=unit: those only
# make debug      the tests with dcheck and verify
# make asan       unit, prop and race: a sanitizer brings its own malloc; tsan: race, no Criterion
# make ubsan      the tests under UBSan, which traps: SIGILL at the very line, gdb shows it
# make torture    gc mode for MINUTES (5) a program and way of seeing writes
# make bench      against other allocators: needs a quiet machine   BENCH="options of scripts/bench"
# make rss-page   what each way of giving memory back does to many programs   RSS="its options"
# make gc-bench   mode gc beside bdwgc and Go: stalls, cycles, a server       GC="its options"
# make demo       about a minute: what this is good for, on real programs     make tidy  clang-tidy
# make install    DESTDIR= PREFIX= LIBDIR=: library, spangc, .h, .pc, man page   uninstall clean
# CC, CFLAGS and LDFLAGS are the caller's. CI=true or WERROR=1: a warning is an error.

VARIANT  ?= release
B        := build/$(VARIANT)
ARCH     := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null)))
SRC      := $(wildcard core/*.c preload/*.c) \
            $(filter-out scan/regs_%.c,$(wildcard scan/*.c)) $(wildcard scan/regs_$(ARCH)*.c)
OBJ      := $(SRC:%.c=$(B)/%.o)
CORE_OBJ := $(filter-out $(B)/preload/%,$(OBJ))
LIB      := $(B)/libspangc.so

FLAGS_release := -O3
FLAGS_debug   := -O1 -DSPANGC_DEBUG
FLAGS_asan    := -O1 -DSPANGC_DEBUG -fsanitize=address -fno-omit-frame-pointer
FLAGS_ubsan   := -O1 -DSPANGC_DEBUG -fsanitize=undefined -fsanitize-undefined-trap-on-error
# TSan models no fence: the few here order a store before a load, which it has no need of.
FLAGS_tsan    := -O2 -fsanitize=thread -Wno-tsan

BASE      := -std=gnu11 -D_GNU_SOURCE= -g -pthread -I. $(FLAGS_$(VARIANT)) -Wall -Wextra \
             $(if $(filter true 1,$(CI) $(WERROR)),-Werror)
LIB_FLAGS := $(BASE) -Wconversion -fPIC -fvisibility=hidden -fno-plt \
             -fno-semantic-interposition -ftls-model=initial-exec -foptimize-sibling-calls \
             -fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free
LINK      := -shared -Wl,-soname,libspangc.so -Wl,--version-script=preload/exports.map \
             -Wl,-z,now,-z,relro,-z,defs,-z,nodelete,-z,noseparate-code -Wl,--as-needed
# A compiler that knows malloc drops the very calls these tests make, and warns of their misuse.
MISUSE    := $(BASE) -fno-builtin -Wno-free-nonheap-object -Wno-use-after-free \
             -Wno-mismatched-dealloc -Wno-alloc-size-larger-than -Wno-unused-result

# What tests/FOLDER/ makes: a program of each NAME.c, a shared object of each libNAME.c.
c_files  = $(wildcard $(1:%=tests/%/*.c))
plugins  = $(patsubst %.c,$(B)/%.so,$(foreach f,$(c_files),$(if $(filter lib%,$(notdir $f)),$f)))
programs = $(patsubst %.c,$(B)/%,$(foreach f,$(c_files),$(if $(filter lib%,$(notdir $f)),,$f)))

# A sanitizer's runtime stands where our malloc would: only what links core can run there.
GROUPS_asan := unit prop race
GROUPS_tsan := race
GROUPS := $(or $(GROUPS_$(VARIANT)),unit prop race symbols victims process fault torture programs rss corpus)
ASKED  := $(if $(T),$(foreach t,$(T),$(firstword $(subst /, ,$t))),%)
BUILT  := $(filter $(ASKED) $(if $(filter leaks gc,$(ASKED)),victims process),$(filter-out rss corpus,$(GROUPS)))
PRELOADED := symbols victims process fault torture programs
BENCHES   := bench demo rss-page gc-bench
Q    := $(if $(V),,@)
say   = $(if $(V),,@printf '  %-4s %s\n' $(1) $@;) mkdir -p $(@D) &&
out   = $(CC) $(1) $(CFLAGS) -MMD -MP -MT $@ -MF $@.d -o $@ $<
all: $(LIB) $(if $(filter release,$(VARIANT)),libspangc.so)

libspangc.so: build/release/libspangc.so
	$(Q)cp --remove-destination $< $@
$(LIB): $(OBJ) preload/exports.map
	$(call say,LD) $(CC) $(BASE) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $(OBJ)
$(B)/libcore.a: $(CORE_OBJ)
	$(call say,AR) rm -f $@ && ar rcs $@ $(CORE_OBJ)
$(B)/%.o: %.c Makefile | core/sizeclass_table.h
	$(call say,CC) $(call out,$(LIB_FLAGS) -c)
core/sizeclass_table.h: scripts/gen-sizeclasses
	$(call say,GEN) scripts/gen-sizeclasses >$@.new && mv $@.new $@

$(call programs,unit prop race bench): $(B)/%: %.c $(B)/libcore.a Makefile
	$(call say,TEST) $(call out,$(BASE)) $(B)/libcore.a -lm \
		$(if $(filter tests/unit/% tests/prop/%,$<),-lcriterion)
$(call programs,$(PRELOADED)): $(B)/%: %.c Makefile
	$(call say,TEST) $(call out,$(MISUSE)) -lm
$(call plugins,$(PRELOADED)): $(B)/%.so: %.c Makefile
	$(call say,TEST) $(call out,$(MISUSE) -fPIC -shared)

# Packages first, the compiler is one. What can't be installed has been said: its tests skip.
test debug asan ubsan tsan:
	$(Q)scripts/deps.sh || true
	$(Q)$(MAKE) --no-print-directory run-tests VARIANT=$(if $(filter test,$@),release,$@)
run-tests: $(if $(GROUPS_$(VARIANT)),,all) $(call programs,$(BUILT)) $(call plugins,$(BUILT))
	$(Q)scripts/run-tests --no-build --variant $(VARIANT) $(T)

torture:
	$(Q)TORTURE_SECONDS=$$((60 * $(or $(MINUTES),5))) $(MAKE) --no-print-directory run-tests T=torture
$(BENCHES):
	$(Q)scripts/deps.sh
	$(Q)$(MAKE) --no-print-directory all
	$(Q)scripts/$@ $($(word 2,$(subst :, ,$(filter $@:%,bench:BENCH rss-page:RSS gc-bench:GC))))
compile_commands.json: Makefile $(SRC)
	$(Q)for f in $(SRC); do printf ',\n{"directory": "%s", "file": "%s", "command": "%s -c %s"}' \
		"$(CURDIR)" $$f '$(CC) $(LIB_FLAGS)' $$f; done | sed '1s/.*/[/; $$s/$$/\n]/' >$@
tidy: compile_commands.json
	$(Q)scripts/deps.sh tidy
	$(Q)clang-tidy --quiet -p . $(SRC)
PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
INCLUDE := $(DESTDIR)$(PREFIX)/include
SHARE   := $(DESTDIR)$(PREFIX)/share/spangc
MAN     := $(DESTDIR)$(PREFIX)/share/man/man7
PC      := $(DESTDIR)$(LIBDIR)/pkgconfig
VERSION  = $(shell sed -n 's/^.define SPANGC_VERSION "\(.*\)"/\1/p' preload/spangc.h)
install: all
	install -d $(DESTDIR)$(LIBDIR) $(PC) $(INCLUDE) $(MAN) $(DESTDIR)$(PREFIX)/bin $(SHARE)
	install -m 755 build/release/libspangc.so $(DESTDIR)$(LIBDIR)
	install -m 644 preload/spangc.h $(INCLUDE) && install -m 644 preload/spangc.7 $(MAN)
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|' \
		preload/spangc.pc.in >$(PC)/spangc.pc
	cp --parents scripts/spangc scripts/knob-table scripts/spangclib/*.py core/knobs.def $(SHARE)
	ln -sfr $(SHARE)/scripts/spangc $(DESTDIR)$(PREFIX)/bin/spangc
	ln -sfr $(DESTDIR)$(LIBDIR)/libspangc.so $(SHARE)/libspangc.so
uninstall:
	rm -rf $(DESTDIR)$(LIBDIR)/libspangc.so $(PC)/spangc.pc $(INCLUDE)/spangc.h $(MAN)/spangc.7 \
		$(SHARE) $(DESTDIR)$(PREFIX)/bin/spangc
clean:
	rm -rf build libspangc.so compile_commands.json core/sizeclass_table.h.new
-include $(shell find $(B) -name '*.d' 2>/dev/null)
.PHONY: all test debug asan ubsan tsan run-tests torture $(BENCHES) tidy install uninstall clean
.DELETE_ON_ERROR:
