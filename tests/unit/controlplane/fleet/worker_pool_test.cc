#include "controlplane/fleet/worker_pool.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"

namespace postern::fleet {
namespace {

TEST(WorkerPool, RunsWhatWasPostedBeforeItStops) {
  std::atomic<int> ran{0};
  WorkerPool pool(2);
  for (int i = 0; i < 100; ++i) pool.Post([&] { ++ran; });
  pool.Stop();
  EXPECT_EQ(ran, 100);
}

TEST(WorkerPool, DelayedWorkWaitsForItsTime) {
  WorkerPool pool(1);
  absl::Notification late;
  const absl::Time start = absl::Now();
  absl::Time ran;
  pool.PostAfter(absl::Milliseconds(50), [&] {
    ran = absl::Now();
    late.Notify();
  });
  absl::Notification soon;
  pool.Post([&] { soon.Notify(); });
  soon.WaitForNotification();
  EXPECT_FALSE(late.HasBeenNotified());
  late.WaitForNotification();
  EXPECT_GE(ran - start, absl::Milliseconds(50));
}

TEST(WorkerPool, StopDoesNotWaitForDelays) {
  bool ran = false;
  WorkerPool pool(1);
  pool.PostAfter(absl::Hours(1), [&] { ran = true; });
  pool.Stop();
  EXPECT_TRUE(ran);
}

TEST(WorkerPool, PostsAfterStopRunOnTheirPoster) {
  WorkerPool pool(1);
  pool.Stop();
  std::thread::id ran;
  pool.Post([&] { ran = std::this_thread::get_id(); });
  EXPECT_EQ(ran, std::this_thread::get_id());
}

}  // namespace
}  // namespace postern::fleet
