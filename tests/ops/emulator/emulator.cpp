#include "cuda_pipeline.h"

#include <ucontext.h>

#include <cstdio>
#include <cstring>
#include <deque>
#include <vector>

namespace emulator {

dim3 thread, block;

namespace {

constexpr int LANES = 32, STACK = 256 * 1024;

struct Copy {
  void* to;
  const void* from;
  size_t size, group;
};

struct Lane {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(STACK);
  bool done;
  size_t group;
  std::deque<Copy> copies;
};

Lane* lanes = nullptr;
ucontext_t scheduler;
const std::function<void()>* running;

Lane& self() { return lanes[thread.x]; }

void enter() {
  (*running)();
  self().done = true;
}

void expect(bool claim, const char* what) {
  if (claim) return;
  std::fprintf(stderr, "emulator: %s (block %u, lane %u)\n", what, block.x, thread.x);
  std::abort();
}

}  // namespace

void run(const cudaLaunchConfig_t& config, const std::function<void()>& kernel) {
  expect(config.blockDim.x == LANES, "a block is one warp");
  if (!lanes) lanes = new Lane[LANES];
  running = &kernel;
  for (block.x = 0; block.x < config.gridDim.x; ++block.x) {
    for (int i = 0; i < LANES; ++i) {
      Lane& lane = lanes[i];
      lane.done = false;
      lane.group = 0;
      lane.copies.clear();
      getcontext(&lane.context);
      lane.context.uc_stack.ss_sp = lane.stack.data();
      lane.context.uc_stack.ss_size = STACK;
      lane.context.uc_link = &scheduler;
      makecontext(&lane.context, enter, 0);
    }
    for (int done = 0; done == 0;) {
      for (thread.x = 0; thread.x < LANES; ++thread.x) {
        swapcontext(&scheduler, &self().context);
        done += self().done;
      }
      expect(done == 0 || done == LANES, "some lanes wait at a barrier that others never reach");
    }
  }
}

}  // namespace emulator

using namespace emulator;

void __syncwarp() { swapcontext(&self().context, &scheduler); }

int __all_sync(unsigned mask, int holds) {
  static bool votes[LANES];
  expect(mask == 0xffffffff, "all lanes must vote");
  votes[thread.x] = holds != 0;
  __syncwarp();
  const bool all = std::all_of(votes, votes + LANES, [](bool vote) { return vote; });
  __syncwarp();  // a lane that runs ahead must not change its vote before all have counted
  return all;
}

void __pipeline_memcpy_async(void* to, const void* from, size_t size) {
  const auto misplaced = (reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % size;
  expect((size == 4 || size == 8 || size == 16) && misplaced == 0,
         "a copy must be of 4, 8 or 16 aligned bytes");
  std::memset(to, 0xff, size);
  self().copies.push_back({to, from, size, self().group});
}

void __pipeline_commit() { ++self().group; }

void __pipeline_wait_prior(size_t pending) {
  Lane& lane = self();
  while (!lane.copies.empty() && lane.copies.front().group + pending < lane.group) {
    const Copy copy = lane.copies.front();
    std::memcpy(copy.to, copy.from, copy.size);
    lane.copies.pop_front();
  }
}

extern "C" {
__attribute__((visibility("default"))) int32_t aoti_torch_get_current_cuda_stream(int32_t,
                                                                                void** stream) {
  *stream = nullptr;
  return 0;
}
__attribute__((visibility("default"))) const char* srulight_cpu_level() { return "an emulated GPU"; }
}
