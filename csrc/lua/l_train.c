/* What the training loop needs of the core and of the machine: right answers, the generator's state, the terminal,
 * folders. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/crc32c.h"
#include "core/interrupt.h"
#include "core/rng.h"
#include "lua/l_bind.h"
#include "train/metrics.h"
#include "train/signals.h"

/*** topk_hits(logits, labels, k) -> how many rows have their label among the k largest. */
static int topk_hits(lua_State *L) {
    int64_t hits;
    l_check(L, pk_topk_hits(l_check_tensor(L, 1), l_check_tensor(L, 2), luaL_optinteger(L, 3, 1), &hits));
    lua_pushinteger(L, hits);
    return 1;
}

/*** confusion(logits, labels, matrix): adds to the int32 matrix {K,K}, rows by label, columns by prediction. */
static int confusion(lua_State *L) {
    l_check(L, pk_confusion(l_check_tensor(L, 1), l_check_tensor(L, 2), l_check_tensor(L, 3)));
    return 0;
}

/*** row_losses(logits, labels) -> float32 {N}: the cross entropy of each row. */
static int row_losses(lua_State *L) {
    pk_status status;
    pk_tensor *losses = NULL;
    L_RETRY(L, status, pk_row_losses(l_check_tensor(L, 1), l_check_tensor(L, 2), &losses));
    l_check(L, status);
    l_push_tensor(L, losses);
    return 1;
}

/*** crc32c(bytes or contiguous tensor) -> integer */
static int crc32c(lua_State *L) {
    size_t n;
    const pk_tensor *t = l_test_object(L, 1, L_TENSOR);
    if (t && !pk_is_contiguous(t)) l_arg_error(L, 1, "the tensor is not contiguous");
    const char *bytes = t ? (const char *)pk_bytes(t) : luaL_checklstring(L, 1, &n);
    if (t) n = (size_t)(pk_numel(t) * pk_dtype_size(t->dtype));
    lua_pushinteger(L, (lua_Integer)pk_crc32c(bytes, n));
    return 1;
}

/*** random_state() -> seed, count; set_random_state(seed, count). */
static int random_state(lua_State *L) {
    uint64_t state[2];
    pk_random_get_state(state);
    lua_pushinteger(L, (lua_Integer)state[0]);
    lua_pushinteger(L, (lua_Integer)state[1]);
    return 2;
}

static int set_random_state(lua_State *L) {
    const uint64_t state[2] = {(uint64_t)luaL_checkinteger(L, 1), (uint64_t)luaL_checkinteger(L, 2)};
    pk_random_set_state(state);
    return 0;
}

/*** terminal() -> columns of the terminal that standard error is, or nil when it is none. */
static int terminal(lua_State *L) {
    struct winsize size;
    if (!isatty(STDERR_FILENO)) return 0;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    lua_pushinteger(L, known ? size.ws_col : 80);
    return 1;
}

/*** with_signals(f, ...) -> what f(...) gives; while it runs SIGINT, SIGTERM and SIGUSR1 are only noted, for signal_seen(). */
static int with_signals(lua_State *L) {
    l_check_callable(L, 1);
    l_check(L, pk_signals_begin());
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    pk_signals_end();
    if (status != LUA_OK) return lua_error(L);
    return lua_gettop(L);
}

/*** interruptible(f, ...) -> true and what f(...) gives; false when a signal came (with_signals) and f, which had not ended
 * three seconds later, was left in the middle of its work. */
static int interruptible(lua_State *L) {
    l_check_callable(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    pk_interruptible_begin();
    int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
    pk_interruptible_end();
    if (status == LUA_OK) return lua_gettop(L);
    const char *text = lua_tostring(L, -1);
    if (text == NULL || pk_signal_seen() == NULL || strstr(text, PK_INTERRUPTED) == NULL) return lua_error(L);
    lua_pushboolean(L, 0);
    return 1;
}

/*** signal_seen() -> the name of the signal that came, or nil. */

static int signal_seen(lua_State *L) {
    lua_pushstring(L, pk_signal_seen()); /* null pushes nil */
    return 1;
}

/*** sleep(seconds): at most an hour; a signal ends it. */
static int sleep_for(lua_State *L) {
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0 && seconds <= 3600, 1, "0 to 3600 seconds were expected");
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)((seconds - (lua_Number)t.tv_sec) * 1e9);
    nanosleep(&t, NULL);
    return 0;
}

/*** make_dir(path) -> true, or nil, message: the folder and those above it, where missing. */
static int make_dir(lua_State *L) {
    char path[4096];
    size_t n;
    const char *given = luaL_checklstring(L, 1, &n);
    luaL_argcheck(L, n > 0 && n < sizeof path && strlen(given) == n, 1, "a path of 1 to 4095 bytes was expected");
    memcpy(path, given, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        char kept = path[i];
        path[i] = 0;
        struct stat s;
        if (mkdir(path, 0777) != 0 && (stat(path, &s) != 0 || !S_ISDIR(s.st_mode))) {
            int code = errno;
            lua_pushnil(L);
            lua_pushfstring(L, "%s: %s", path, strerror(code));
            return 2;
        }
        path[i] = kept;
    }
    lua_pushboolean(L, 1);
    return 1;
}

static const luaL_Reg functions[] = {{"topk_hits", topk_hits}, {"confusion", confusion}, {"row_losses", row_losses},
                                     {"crc32c", crc32c}, {"random_state", random_state},
                                     {"set_random_state", set_random_state}, {"terminal", terminal},
                                     {"make_dir", make_dir}, {"sleep", sleep_for}, {"with_signals", with_signals},
                                     {"signal_seen", signal_seen}, {"interruptible", interruptible}, {NULL, NULL}};

void l_open_train(lua_State *L) { luaL_setfuncs(L, functions, 0); }
