# pelk: build, test, demonstrate. `make help` lists the targets.
# Every path may be given on the command line. Our own flags have names of their own, so that a CFLAGS from outside
# (LuaRocks, packagers) replaces only the compiler's optimisation flags.

CC          ?= cc
CFLAGS      ?= -O2
LIBFLAG     ?= -shared
LUA         ?= lua5.4
PKG_CONFIG  ?= pkg-config
BUILD       ?= build
KERNEL_CFLAGS ?= -O3

comma := ,
pkg = $(shell $(PKG_CONFIG) --variable=$(2) $(1) 2>/dev/null)
LUA_INCDIR      ?= $(firstword $(call pkg,lua5.4,includedir)/lua5.4)
OPENBLAS_INCDIR ?= $(call pkg,openblas,includedir)
OPENBLAS_LIBDIR ?= $(call pkg,openblas,libdir)
JPEG_INCDIR     ?= $(call pkg,libjpeg,includedir)
JPEG_LIBDIR     ?= $(call pkg,libjpeg,libdir)
STB_INCDIR      ?= /usr/include

# Installation, as LuaRocks passes it.
INST_LIBDIR ?= /usr/local/lib/lua/5.4
INST_LUADIR ?= /usr/local/share/lua/5.4
INST_BINDIR ?= /usr/local/bin

MACHINE := $(shell $(CC) -dumpmachine)
# Lua unloads its C modules when a state is closed; ours stays mapped, for the pool's threads may still be in it.
STAYS := $(if $(findstring linux,$(MACHINE)),-Wl$(comma)-z$(comma)nodelete)
ifneq (,$(findstring x86_64,$(MACHINE)))
LEVELS := generic avx2 avx512
else ifneq (,$(findstring aarch64,$(MACHINE)))
LEVELS := generic neon
else
LEVELS := generic
endif
FLAGS_generic :=
FLAGS_avx2    := -mavx2 -mfma
FLAGS_avx512  := -mavx512f -mavx512dq -mavx512bw -mavx512vl -mbmi2 -mfma -mprefer-vector-width=512
FLAGS_neon    := -DPK_VEC_NEON

PELK_CFLAGS := -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -ffp-contract=off -fno-math-errno -pthread \
               -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla \
               -Icsrc -I$(BUILD)/gen $(foreach l,$(LEVELS),-DPK_HAVE_$(l)) -MMD -MP
PELK_LIBS   := $(if $(OPENBLAS_LIBDIR),-L$(OPENBLAS_LIBDIR)) -lopenblas $(if $(JPEG_LIBDIR),-L$(JPEG_LIBDIR)) -ljpeg -lz -lm -pthread
COMPILE      = $(CC) $(CFLAGS) $(PELK_CFLAGS)

# ---- what there is to build: the tree says it ----
DIRS      := core kernels ops autograd nn train data io viz
C_FILES   := $(filter-out %.inc.c,$(wildcard $(DIRS:%=csrc/%/*.c)))
BODIES    := $(wildcard csrc/kernels/*.inc.c)
LUA_C     := $(wildcard csrc/lua/*.c)
OBJ       := $(C_FILES:csrc/%.c=$(BUILD)/obj/%.o) $(BUILD)/obj/gen/registry.o \
             $(foreach l,$(LEVELS),$(BODIES:csrc/%.inc.c=$(BUILD)/obj/%__$(l).o))
LUA_OBJ   := $(LUA_C:csrc/%.c=$(BUILD)/obj/%.o)
CHECK_C   := $(wildcard spec/check/*.c)
CHECK_OBJ := $(CHECK_C:spec/check/%.c=$(BUILD)/obj/check/%.o)

.PHONY: all help deps demo test check spec lint asan tsan wide fuzz corpora bench recipe docs repl install clean FORCE
all: $(BUILD)/pelk/core.so

$(BUILD)/pelk/core.so: $(OBJ) $(LUA_OBJ)
	@mkdir -p $(@D)
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) $(LIBFLAG) $(STAYS) -o $@ $^ $(PELK_LIBS)

$(BUILD)/libpelk.a: $(OBJ)
	@rm -f $@
	@echo '  AR  $@'
	@$(AR) rcs $@ $^

$(BUILD)/check: $(CHECK_OBJ) $(BUILD)/libpelk.a
	@echo '  LD  $@'
	@$(CC) $(CFLAGS) -o $@ $(CHECK_OBJ) $(BUILD)/libpelk.a $(PELK_LIBS)

# A stamp of the flags: objects made with others are made anew.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(COMPILE) $(KERNEL_CFLAGS) $(LIBFLAG) $(LUA_INCDIR) $(OPENBLAS_INCDIR) $(JPEG_INCDIR) $(STB_INCDIR) $(LEVELS) $(PELK_LIBS)' | cmp -s - $@ || \
	 echo '$(COMPILE) $(KERNEL_CFLAGS) $(LIBFLAG) $(LUA_INCDIR) $(OPENBLAS_INCDIR) $(JPEG_INCDIR) $(STB_INCDIR) $(LEVELS) $(PELK_LIBS)' > $@

$(BUILD)/obj/core/gemm.o: PELK_CFLAGS += $(if $(OPENBLAS_INCDIR),-I$(OPENBLAS_INCDIR))
$(BUILD)/obj/lua/%.o:     PELK_CFLAGS += -I$(LUA_INCDIR)
$(BUILD)/obj/io/%.o $(BUILD)/obj/data/%.o $(BUILD)/obj/viz/%.o: PELK_CFLAGS += -I$(STB_INCDIR)
$(BUILD)/obj/io/image_jpeg.o: PELK_CFLAGS += $(if $(JPEG_INCDIR),-I$(JPEG_INCDIR))
$(BUILD)/obj/kernels/ref_%.o: PELK_CFLAGS += -DPK_LEVEL=ref

$(BUILD)/obj/%.o: csrc/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo '  CC  $<'
	@$(COMPILE) -c -o $@ $<

define body_rule
$(BUILD)/obj/kernels/%__$(1).o: csrc/kernels/%.inc.c $(BUILD)/flags
	@mkdir -p $$(@D)
	@echo '  CC  $$< ($(1))'
	@$$(COMPILE) $$(KERNEL_CFLAGS) $$(FLAGS_$(1)) -DPK_LEVEL=$(1) -c -o $$@ $$<
endef
$(foreach l,$(LEVELS),$(eval $(call body_rule,$(l))))

$(BUILD)/obj/check/%.o: spec/check/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo '  CC  $<'
	@$(COMPILE) -c -o $@ $<

# The registries of ops, of module classes and of sources of names, from the lines that define them.
REGISTERED := $(wildcard csrc/ops/op_*.c csrc/nn/nn_*.c csrc/io/keys_*.c)
$(BUILD)/gen/registry.c: csrc/registry.awk $(REGISTERED)
	@mkdir -p $(@D)
	@awk -f csrc/registry.awk $(REGISTERED) > $@

$(BUILD)/gen/gen/ops.h: csrc/registry.awk $(REGISTERED)
	@mkdir -p $(@D)
	@awk -v header=1 -f csrc/registry.awk $(REGISTERED) > $@
$(OBJ) $(LUA_OBJ) $(CHECK_OBJ): | $(BUILD)/gen/gen/ops.h

$(BUILD)/obj/gen/registry.o: $(BUILD)/gen/registry.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo '  CC  $<'
	@$(COMPILE) -c -o $@ $<

-include $(OBJ:.o=.d) $(LUA_OBJ:.o=.d) $(CHECK_OBJ:.o=.d)

# ---- using it ----
LUA_ENV = LUA_PATH='./lua/?.lua;./lua/?/init.lua;;' LUA_CPATH='./$(BUILD)/?.so;;'

help:
	@echo 'make            build $(BUILD)/pelk/core.so'
	@echo 'make demo       all that is needed, then train PeLK on Fashion-MNIST and show the result (OUT=runs/fashion)'
	@echo 'make test       build, C checks, specs, lint; ends with "N passed, N failed"'
	@echo 'make repl       Lua with pelk loaded'
	@echo 'make bench      time the kernels and networks: a table, and $(BUILD)/bench.csv'
	@echo 'make recipe     one recipe in pelk and in PyTorch: the same accuracy? (LIMIT=60000 images, EPOCHS=2)'
	@echo 'make asan       the checks and specs under AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo 'make wide       the checks with AVX-512'\''s intrinsics in AVX2: for machines without it'
	@echo 'make fuzz       the readers of tensors by libFuzzer (clang), for FUZZ_SECONDS=60'
	@echo 'make corpora    all readers over the hostile files of Pillow, libpng ... (FOLDERS=, or from Debian sources)'
	@echo 'make tsan       the loader threads under ThreadSanitizer'
	@echo 'make docs       the reference of operations, layers, models and functions: $(BUILD)/reference.md'
	@echo 'make deps       install what is missing (Debian packages, with sudo where needed)'
	@echo 'make install    into INST_LIBDIR, INST_LUADIR and INST_BINDIR (LuaRocks calls it)'
	@echo 'make clean      remove $(BUILD)'
	@echo 'Variables: CC CFLAGS BUILD PELK_ISA PELK_NUM_THREADS'

deps:
	@sh spec/deps.sh

JOBS := $(shell nproc 2>/dev/null || echo 2)
demo:
	@sh spec/deps.sh
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@$(LUA_ENV) $(LUA) examples/02_train.lua out=$(or $(OUT),runs/fashion) epochs=4 images=60000

test:
	@sh spec/deps.sh
	@BUILD='$(BUILD)' LUA='$(LUA)' MAKE='$(MAKE)' sh spec/run.sh

check: $(BUILD)/check
	$(BUILD)/check

spec: all
	busted --cpath='./$(BUILD)/?.so'

lint:
	@sh spec/lint.sh

ASAN_FLAGS := -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
asan:
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=build/asan CFLAGS='$(ASAN_FLAGS)' KERNEL_CFLAGS=-O1 build/asan/pelk/core.so build/asan/check
	@BUILD=build/asan sh spec/asan.sh

# The readers of tensors by libFuzzer, FUZZ_SECONDS long.
FUZZ_FLAGS := -g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
              -fno-sanitize-recover=undefined -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
fuzz:
	@if command -v clang >/dev/null 2>&1; then \
	  $(MAKE) --no-print-directory -j$(JOBS) CC=clang BUILD=build/fuzz CFLAGS='$(FUZZ_FLAGS)' KERNEL_CFLAGS='-O1 -fno-sanitize=all' \
	    build/fuzz/libpelk.a && BUILD=build/fuzz FUZZ_FLAGS='$(FUZZ_FLAGS)' sh spec/fuzz/run.sh; \
	else echo 'skipped: clang is not installed (fuzzing)'; fi

tsan:
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=build/tsan CFLAGS='-g -O1 -fsanitize=thread' KERNEL_CFLAGS=-O1 build/tsan/check
	@for part in feed pool mlp; do TSAN_OPTIONS=halt_on_error=1 build/tsan/check --only $$part || exit 1; done

# vec_avx512.h and the bodies over it with AVX-512's intrinsics in AVX2: for machines that lack it.
wide:
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=build/wide CFLAGS='-O2 -DPK_WIDE' \
	  LEVELS='generic avx512' FLAGS_avx512='-mavx2 -mfma -mbmi2 -DPK_VEC_AVX512 -Ispec/avx512' build/wide/check
	build/wide/check

corpora: all
	@BUILD='$(BUILD)' LUA='$(LUA)' sh spec/corpora/run.sh $(FOLDERS)

bench: all $(BUILD)/check
	@BUILD='$(BUILD)' LUA='$(LUA)' sh spec/bench/run.sh

recipe: all
	@$(LUA_ENV) $(LUA) spec/bench/recipe.lua /usr/bin/python3 '$(BUILD)/recipe' '$(LIMIT)' '$(EPOCHS)'

docs: all
	@$(LUA_ENV) $(LUA) spec/docs.lua '$(BUILD)/reference.md'

repl: all
	@$(LUA_ENV) $(LUA) -i -e 'pelk = require("pelk"); print(pelk); print("pelk.models.list(), pelk.nn, pelk.ops: all in the variable pelk")'

install: all
	mkdir -p '$(INST_LIBDIR)/pelk' '$(INST_LUADIR)'
	cp $(BUILD)/pelk/core.so '$(INST_LIBDIR)/pelk/core.so'
	cp -R lua/pelk '$(INST_LUADIR)/'
	mkdir -p '$(INST_BINDIR)' && cp bin/pelk '$(INST_BINDIR)/pelk' && chmod 755 '$(INST_BINDIR)/pelk'

clean:
	rm -rf $(BUILD)
