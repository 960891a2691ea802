-- Why a line of csrc does not run in the specs: file, or "*" for any → a piece of the block's first line → the reason.
local MEMORY <const> = "memory runs out here: spec/faults_spec.lua and spec/memory_spec.lua do that, in steps"
local SYSTEM <const> = "the system has it, or its call does not fail so, where the specs run"
local GUARD <const> = "against what cannot happen as long as the rest is right"
local DEBUG <const> = "somebody changed tables or coroutines in the middle of a call"
local RACE <const> = "two events in one moment, which cannot be made to meet"

return {
  ["*"] = {
    ["TN_ENOMEM"] = MEMORY,
    ["not enough memory"] = MEMORY,
    ["return NULL;"] = MEMORY,
    ["free_request(request)"] = MEMORY,
    ["too many"] = "Lua's limit of a million slots comes first, at most sizes",
  },
  ["csrc/binding/address.c"] = {
    ["-ENOTSUP"] = SYSTEM,
  },
  ["csrc/binding/argument.c"] = {
    ["bad argument #%d (%s)"] = "a call from C, without a name",
  },
  ["csrc/binding/class.c"] = {
    ["somebody with the debug library"] = DEBUG,
  },
  ["csrc/binding/connection.c"] = {
    ["tn_socket_peer(stash,"] = MEMORY,
  },
  ["csrc/binding/control.c"] = {
    ["-ENOTSUP"] = SYSTEM,
    ["\"hardware\""] = "needs a network card that stamps packets",
    ["\"origin\""] = "an origin of errors that this kernel does not name",
  },
  ["csrc/binding/copy.c"] = {
    ["tn_splice_end(from)"] = SYSTEM,
  },
  ["csrc/binding/inner.c"] = {
    ["lua_pop(thread, count)"] = "Lua's limit of a million slots comes first, at most sizes",
    ["resumed by somebody else"] = DEBUG,
    ["resumed outside its task"] = DEBUG,
    ["return;"] = MEMORY,
  },
  ["csrc/binding/input.c"] = {
    ["in the middle of a read"] = "a finalizer that the collector runs in the middle of a read",
  },
  ["csrc/binding/lookup.c"] = {
    ["return status;"] = MEMORY,
  },
  ["csrc/binding/message.c"] = {
    ["somebody changed the fields"] = DEBUG,
    ["a metamethod of the message's tables"] = DEBUG,
  },
  ["csrc/binding/method.c"] = {
    ["return status;"] = MEMORY,
    ["tn_scratch_rescue"] = MEMORY,
    ["tn_claims_release"] = DEBUG,
  },
  ["csrc/binding/method.h"] = {
    ["tn_call_give_way"] = "inlined: the copy of this file alone is never called",
  },
  ["csrc/binding/object.c"] = {
    ["return status;"] = GUARD,
  },
  ["csrc/binding/option_codec.c"] = {
    ["decode(value, &byte"] = SYSTEM,
    ["lua_pushinteger(L, number)"] = "a number that the system has no name for",
    ["(lua_Integer)number"] = "a number that the system has no name for",
    ["push_address"] = "runs in a network namespace, in a process that a signal ends with its counts",
    ["TN_OPTION_ADDRESS"] = "runs in a network namespace, in a process that a signal ends with its counts",
    ["TN_OPTION_SERVICE"] = "of DCCP, which the kernel lacks",
  },
  ["csrc/binding/options.c"] = {
    ["tn_option_values_free"] = DEBUG,
    ["continue;"] = SYSTEM,
  },
  ["csrc/binding/output.c"] = {
    ["tn_call_give_way"] = "a peer that takes more than a write can send in many calls, without a wait in between",
  },
  ["csrc/binding/poll.c"] = {
    ["tn_socket_close(fd)"] = SYSTEM,
  },
  ["csrc/binding/readiness.c"] = {
    ["return status;"] = SYSTEM,
  },
  ["csrc/binding/scheduler.c"] = {
    ["tn_task_push_outcome"] = "a run that is cancelled from outside",
    ["return lua_error(L);"] = "a finalizer raises in the middle of step",
  },
  ["csrc/binding/slices.c"] = {
    ["luaL_argerror"] = DEBUG,
  },
  ["csrc/binding/stream.c"] = {
    ["return status;"] = SYSTEM,
  },
  ["csrc/binding/tcp_stream.c"] = {
    ["return status;"] = SYSTEM,
  },
  ["csrc/core/bytes.c"] = {
    ["tn_bytes_append"] = MEMORY,
  },
  ["csrc/core/message.c"] = {
    ["return false;"] = GUARD,
  },
  ["csrc/core/reactor.c"] = {
    ["return false;"] = MEMORY,
    ["return status;"] = MEMORY,
    ["return;"] = "a child that forked, which the counts of coverage do not follow",
    ["timer_arm"] = "spinning that ended without an event, in the moment that a timer is due",
    ["reactor->fork_mark"] = MEMORY,
  },
  ["csrc/core/resolver.c"] = {
    ["continue;"] = "an address longer than any that the system has",
    ["uv_mutex_lock"] = "no thread can be started",
    ["EAI_MEMORY"] = "no thread can be started",
    ["free(resolver)"] = MEMORY,
    ["TN_EINVAL"] = GUARD,
  },
  ["csrc/core/rights.c"] = {
    ["close_all"] = MEMORY,
    ["return;"] = MEMORY,
  },
  ["csrc/core/source.c"] = {
    ["unclaimed = NULL"] = MEMORY,
    ["tn_socket_close(rare->stash)"] = MEMORY,
    ["tn_source_close(reactor->sources)"] = "objects that outlive their reactor, in a state that closes",
    ["return TN_EAGAIN;"] = RACE,
    ["return pay(source);"] = RACE,
    ["tn_scratch_rescue"] = MEMORY,
  },
  ["csrc/core/splice.c"] = {
    ["TN_EINVAL"] = GUARD,
  },
  ["csrc/core/status.c"] = {
    ["return 0;"] = "a code or a name that nobody gives",
  },
  ["csrc/core/watch.c"] = {
    ["tn_signal_close"] = "objects that outlive their reactor, in a state that closes",
  },
  ["csrc/platform/faults.c"] = {
    ["return false;"] = "the name of a call that is not among them",
  },
  ["csrc/platform/selector.c"] = {
    ["total > 0 ? total"] = GUARD,
  },
  ["csrc/platform/tcp_info.c"] = {
    ["an older kernel"] = SYSTEM,
  },
  ["csrc/platform/unix.c"] = {
    ["return -errno;"] = SYSTEM,
    ["-EBADF"] = GUARD,
    ["tn_socket_take_error"] = RACE,
    ["abort_on_close"] = "of systems without connect to AF_UNSPEC",
    ["return 0;"] = SYSTEM,
    ["return false;"] = SYSTEM,
    ["free(start)"] = "no thread can be started",
  },
}
