/* Workers: a Lua state on a thread of its own. */
#ifndef TCPNET_WORKER_H
#define TCPNET_WORKER_H

#include <lua.h>

/* start_worker({index, path, cpath, loaders, used}, chunk, ...) → Worker, outcome | nil, err.
 * `loaders` are for package.preload: name, function or its chunk, and so on; `used` is for the
 * library's Lua file on the other side. */
int tn_worker_start(lua_State *L);
/* In the worker's state: adopt_worker(start) → Parent; run_worker(start, parent, fn, used). */
int tn_worker_adopt(lua_State *L);
int tn_worker_run(lua_State *L);
/* available_parallelism() → how many threads can run at once. */
int tn_available_parallelism(lua_State *L);

#endif
