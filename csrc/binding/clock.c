/* Time: see clock.h. */
#include "binding/clock.h"

#include "binding/method_call.h"

static int prepare_sleep(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  tn_check_seconds(L, 1);
  return 0;
}

/* A sleep of nothing lets the others run, as a yield does. */
static int attempt_sleep(lua_State *L, struct tn_call *call) {
  bool over = call->resumed &&
              (lua_tonumber(L, 1) == 0 ||
               (call->waiter->operation_ns != 0 && call->waiter->operation_ns <= tn_now_ns()));
  call->only_yield = lua_tonumber(L, 1) == 0;
  return over ? 0 : TN_EAGAIN;
}

TN_INLINE int attempt_yield(lua_State *L, struct tn_call *call) {
  (void)L, (void)call;
  return 0;
}

TN_METHOD_COMPILED(yield)

enum { YIELD };

const struct tn_method tn_clock_methods[] = {
    [YIELD] = {.name = "yield",
               .flags = TN_YIELDS,
               .attempt = attempt_yield,
               .function = call_yield,
               .continuation = resume_yield},
    {.name = "yield", .flags = TN_YIELDS | TN_BEFORE | TN_PRIVATE, .attempt = attempt_yield},
    {.name = "sleep",
     .slots = 1,
     .seconds_at = 1,
     .flags = TN_OWN_TIMEOUT,
     .prepare = prepare_sleep,
     .attempt = attempt_sleep},
    {0},
};

TN_METHOD_COMPILE(yield, &tn_clock_methods[YIELD])

int tn_now(lua_State *L) {
  lua_pushnumber(L, (double)tn_now_ns() / 1e9);
  return 1;
}
