/* pelk.core: opens the binding. The library's own functions are here; every class has a file of its own. */
#include "lua/l_bind.h"

#include <lualib.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/cpu.h"
#include "core/gemm.h"
#include "core/pool.h"
#include "io/image.h"
#include "kernels/kernels.h"

LUAMOD_API int luaopen_pelk_core(lua_State *L);

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

static void set_string(lua_State *L, const char *key, const char *value) {
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

static void set_integer(lua_State *L, const char *key, int64_t value) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, key);
}

static void set_isas(lua_State *L) {
    lua_newtable(L);
    int n = 0;
    for (int i = 0; i < PK_ISA_COUNT; i++) {
        if (!pk_isa_supported((pk_isa_level)i)) continue;
        lua_pushstring(L, pk_isa_name((pk_isa_level)i));
        lua_rawseti(L, -2, ++n);
    }
    lua_setfield(L, -2, "isas");
}

/* config() -> {version, isa, isas, threads, cores, blas, jpeg, compiler} */
static int config(lua_State *L) {
    lua_createtable(L, 0, 8);
    set_string(L, "version", PELK_VERSION);
    set_string(L, "isa", pk_isa());
    set_isas(L);
    set_integer(L, "threads", pk_threads());
    set_integer(L, "cores", pk_cpu_cores());
    set_string(L, "blas", pk_gemm_library());
    set_string(L, "jpeg", pk_image_jpeg_library());
    set_string(L, "compiler", COMPILER);
    return 1;
}

/* peak_gflops() -> multiply-adds (2 each) a nanosecond of one core with the kernels in use, measured for a moment. */
static int peak_gflops(lua_State *L) {
    const pk_kernels *k = pk_k();
    volatile float sink = 0;
    double best = 0;
    for (int i = 0; i < 5; i++) {
        const int64_t begun = pk_clock_ns();
        sink = sink + k->peak(100000);
        double gflops = 2.0 * PK_PEAK_CHAINS * 100000 * k->window_lanes() / (double)(pk_clock_ns() - begun);
        if (gflops > best) best = gflops;
    }
    lua_pushnumber(L, best);
    return 1;
}

/* set_threads(n), 1..256. Results do not depend on it. */
static int set_threads(lua_State *L) {
    int64_t n = l_check_int(L, 1, "number of threads");
    if (n < 1 || n > 256) l_arg_error(L, 1, "number of threads must be 1..256, got %lld", (long long)n);
    l_check(L, pk_set_threads((int)n));
    return 0;
}

static int threads(lua_State *L) {
    lua_pushinteger(L, pk_threads());
    return 1;
}

/* set_isa(name): one of config().isas. */
static int set_isa(lua_State *L) {
    luaL_checktype(L, 1, LUA_TSTRING);
    l_check(L, pk_set_isa(lua_tostring(L, 1)));
    return 0;
}

static int manual_seed(lua_State *L) {
    pk_manual_seed((uint64_t)l_check_int(L, 1, "seed"));
    return 0;
}

/* memory() -> {live, peak, pooled, system_calls}: bytes of the library, and how often the system was asked. */
static int memory(lua_State *L) {
    pk_memory m = pk_memory_stats();
    lua_createtable(L, 0, 4);
    set_integer(L, "live", m.live);
    set_integer(L, "peak", m.peak);
    set_integer(L, "pooled", m.pooled);
    set_integer(L, "system_calls", m.system_calls);
    return 1;
}

/* reset_peak(): memory().peak starts anew from what is live. */
static int reset_peak(lua_State *L) {
    (void)L;
    pk_memory_reset_peak();
    return 0;
}

/* trim(): collect garbage and give pooled memory back to the system. */
static int trim(lua_State *L) {
    l_reclaim(L);
    return 0;
}

/* clock() -> seconds of a clock that only goes forward. */
static int monotonic_clock(lua_State *L) {
    lua_pushnumber(L, 1e-9 * (lua_Number)pk_clock_ns());
    return 1;
}

/* ---- gradients on and off ---- */

#define L_GRAD_GUARD "pelk.GradGuard"

/* The guard's state to go back to; it is closed however the call ends. */
static int restore_grad(lua_State *L) {
    bool *was = luaL_testudata(L, 1, L_GRAD_GUARD);
    if (was != NULL) pk_set_grad_enabled(*was);
    return 0;
}

/* Call the function at 1 with the rest while gradients are on or off. */
static int call_with_grad(lua_State *L, bool on) {
    l_check_callable(L, 1);
    int narg = lua_gettop(L) - 1;
    bool *was = lua_newuserdatauv(L, sizeof *was, 0);
    *was = pk_grad_enabled();
    luaL_setmetatable(L, L_GRAD_GUARD);
    lua_insert(L, 1);
    lua_toclose(L, 1);
    pk_set_grad_enabled(on);
    lua_call(L, narg, LUA_MULTRET);
    return lua_gettop(L) - 1;
}

/* no_grad(fn, ...) -> what fn(...) returns; nothing in it is recorded. */
static int no_grad(lua_State *L) { return call_with_grad(L, false); }
/* with_grad(fn, ...): the opposite, inside a no_grad. */
static int with_grad(lua_State *L) { return call_with_grad(L, true); }

static int grad_enabled(lua_State *L) {
    lua_pushboolean(L, pk_grad_enabled());
    return 1;
}

/* ---- for tests ---- */

/* _fail_alloc(n, persist): let the n-th allocation from now fail; 0 ends it. */
static int fail_alloc(lua_State *L) {
    pk_alloc_fail_at(l_check_int(L, 1, "allocation"), lua_toboolean(L, 2));
    return 0;
}

static int alloc_count(lua_State *L) {
    lua_pushinteger(L, pk_alloc_count());
    return 1;
}

static const luaL_Reg functions[] = {
    {"config", config},           {"peak_gflops", peak_gflops}, {"set_threads", set_threads},   {"threads", threads},
    {"set_isa", set_isa},         {"manual_seed", manual_seed},   {"memory", memory},
    {"reset_peak", reset_peak},   {"trim", trim},                 {"clock", monotonic_clock},
    {"no_grad", no_grad},         {"with_grad", with_grad},       {"grad_enabled", grad_enabled},
    {"_fail_alloc", fail_alloc},  {"_alloc_count", alloc_count},  {NULL, NULL},
};

/* The parts, each in its file; ops come after the tensors whose methods they become. */
static void (*const openers[])(lua_State *) = {
    l_open_tensor,
    l_open_op,
    l_open_module,
    l_open_merge,
    l_open_grid,
    l_open_optim,
    l_open_profile,
    l_open_ema,
    l_open_guard,
    l_open_data,
    l_open_feed,
    l_open_files,
    l_open_io,
    l_open_journal,
    l_open_onnx,
    l_open_viz,
    l_open_maps,
    l_open_train,
    l_open_sparse,
};

__attribute__((visibility("default"))) int luaopen_pelk_core(lua_State *L) {
    luaL_checkversion(L);
    l_check(L, pk_threads_check_environment());
    l_check(L, pk_isa_check_environment());
    if (luaL_newmetatable(L, L_GRAD_GUARD)) {
        lua_pushcfunction(L, restore_grad);
        lua_setfield(L, -2, "__close");
        lua_pushstring(L, L_GRAD_GUARD);
        lua_setfield(L, -2, "__metatable");
    }
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    lua_pushliteral(L, PELK_VERSION);
    lua_setfield(L, -2, "_VERSION");
    for (size_t i = 0; i < sizeof openers / sizeof *openers; i++) {
        luaL_checkstack(L, 20, "pelk.core");
        openers[i](L);
    }
    return 1;
}
