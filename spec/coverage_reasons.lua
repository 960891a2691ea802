-- Why a line of csrc does not run in the specs: file, or "*" for any → a piece of the block's first line → the reason;
-- then the reasons of lines that run in some runs and not in others.
local MEMORY <const> = "memory runs out here: spec/faults_spec.lua and spec/memory_spec.lua do that, in steps"
local SYSTEM <const> = "the system has it, or its call does not fail so, where the specs run"
local GUARD <const> = "against what cannot happen as long as the rest is right"
local DEBUG <const> = "somebody changed tables or coroutines in the middle of a call"
local ANEW <const> = "where system calls fail on command each source is made anew"
local RACE <const> = "two events in one moment, which cannot be made to meet"
local CHANCE <const> = "memory runs out here, or a step before, in spec/memory_spec.lua"
local LIMIT <const> = "Lua's limit of a million slots comes first, at most sizes"
local WORKER <const> = "a worker's Lua, or its parent's, has no memory left"
local STRANGE <const> = "a code or a name that nobody gives but a script made at random"
local EXIT <const> = "ends the process at once, with its counts"

return {
  ["*"] = {
    ["TN_ENOMEM"] = MEMORY,
    ["not enough memory"] = MEMORY,
    ["return NULL;"] = MEMORY,
    ["free_request(request)"] = MEMORY,
    ["too many"] = LIMIT,
  },
  ["csrc/binding/address.c"] = {
    ["-ENOTSUP"] = SYSTEM,
  },
  ["csrc/binding/control.c"] = {
    ["-ENOTSUP"] = SYSTEM,
    ["\"hardware\""] = "needs a network card that stamps packets",
    ["\"origin\""] = "an origin of errors that this kernel does not name",
  },
  ["csrc/binding/inner.c"] = {
    ["tn_thread_give"] = LIMIT,
    ["resumed outside its task"] = DEBUG,
  },
  ["csrc/binding/input.c"] = {
    ["in the middle of a read"] = "a finalizer that the collector runs in the middle of a read",
    ["not_found(L, slot, 0, status)"] = MEMORY,
  },
  ["csrc/binding/message.c"] = {
    ["somebody changed the fields"] = DEBUG,
  },
  ["csrc/binding/message_output.c"] = {
    ["a finalizer closed it"] = DEBUG,
  },
  ["csrc/binding/option_codec.c"] = {
    ["decode(value, &byte"] = SYSTEM,
    ["lua_pushinteger(L, number)"] = "a number that the system has no name for",
    ["(lua_Integer)number"] = "a number that the system has no name for",
    ["push_address"] = "runs in a network namespace, in a process that a signal ends with its counts",
  },
  ["csrc/binding/options.c"] = {
    ["tn_option_values_free"] = DEBUG,
  },
  ["csrc/binding/readiness.c"] = {
    ["return status;"] = SYSTEM,
  },
  ["csrc/binding/slices.c"] = {
    ["luaL_argerror"] = DEBUG,
  },
  ["csrc/binding/task.c"] = {
    ["raised below the task's own pcall"] = CHANCE,
    ["tn_nest_pop(task)"] = CHANCE,
    ["tn_thread_give"] = LIMIT,
  },
  ["csrc/binding/tcp_stream.c"] = {
    ["return status;"] = SYSTEM,
  },
  ["csrc/binding/worker.c"] = {
    ["exit_process"] = EXIT,
    ["lua_error(L);"] = WORKER,
    ["return false;"] = WORKER,
    ["memcpy(*message"] = GUARD,
  },
  ["csrc/binding/worker_port.c"] = {
    ["return end_of(call, port, false);"] = GUARD,
  },
  ["csrc/core/crew.c"] = {
    ["free(crew);"] = SYSTEM,
    ["uv_mutex_destroy(&crew->lock);"] = SYSTEM,
  },
  ["csrc/core/mailbox.c"] = {
    ["free(mailbox);"] = SYSTEM,
    ["uv_mutex_destroy(&mailbox->lock);"] = SYSTEM,
  },
  ["csrc/core/message.c"] = {
    ["return false;"] = GUARD,
  },
  ["csrc/core/poller_uv.c"] = {
    ["free(handle);"] = SYSTEM,
  },
  ["csrc/core/reactor.c"] = {
    ["return;"] = "a child that forked, which the counts of coverage do not follow",
    ["return false;"] = CHANCE,
    ["return status;"] = CHANCE,
  },
  ["csrc/core/resolver.c"] = {
    ["continue;"] = "an address longer than any that the system has",
    ["EAI_MEMORY"] = "no thread can be started",
    ["TN_EINVAL"] = GUARD,
  },
  ["csrc/core/scratch.c"] = {
    ["return;"] = GUARD,
  },
  ["csrc/core/source.c"] = {
    ["free_sources"] = ANEW,
    ["free_count--"] = ANEW,
    ["free(source);"] = ANEW,
    ["tn_source_close(TN_CONTAINER"] = "objects that outlive their reactor, in a state that closes",
    ["return TN_EAGAIN;"] = RACE,
    ["return pay(source);"] = RACE,
  },
  ["csrc/core/status.c"] = {
    ["return 0;"] = STRANGE,
  },
  ["csrc/core/thread_channel.c"] = {
    ["tn_post_discard(post);"] = "a finalizer closes a worker in the middle of a receive that fails",
    ["tn_end_abandon"] = EXIT,
  },
  ["csrc/core/watch.c"] = {
    ["tn_signal_close"] = "objects that outlive their reactor, in a state that closes",
  },
  ["csrc/platform/faults.c"] = {
    ["(struct iovec){0}"] = GUARD,
    ["return false;"] = "the name of a call that is not among them",
  },
  ["csrc/platform/process.c"] = {
    ["tn_process_exit"] = EXIT,
  },
  ["csrc/platform/tcp_info.c"] = {
    ["an older kernel"] = SYSTEM,
  },
  ["csrc/platform/unix.c"] = {
    ["pthread_attr_setstacksize"] = SYSTEM,
    ["return -errno;"] = SYSTEM,
    ["tn_socket_take_error"] = RACE,
    ["return 0;"] = SYSTEM,
    ["return false;"] = SYSTEM,
  },
}, { [RACE] = true, [CHANCE] = true, [STRANGE] = true }
