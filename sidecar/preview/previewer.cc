#include "sidecar/preview/previewer.h"

#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/strings.h"
#include "common/base/timestamps.h"

namespace postern::preview {
namespace {

constexpr size_t kMostWaiting = 64;
// Of connecting, and of each query; the queries have a shorter limit of their own at the server.
constexpr absl::Duration kTimeout = absl::Seconds(5);

}  // namespace

Previewer::Previewer(const Clock& clock)
    : clock_(clock), stop_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), thread_([this] { Run(); }) {}

Previewer::~Previewer() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  const uint64_t one = 1;
  // Cannot fail but for overflow, and then it is readable already.
  [[maybe_unused]] const ssize_t written = write(stop_fd_, &one, sizeof(one));
  thread_.join();
  if (stop_fd_ >= 0) close(stop_fd_);
}

bool Previewer::Ask(sidecar::ConnectionParameters parameters, Question question,
                    std::function<void(v1::Preview)> done) {
  parameters.role = question.role;
  parameters.timeout = kTimeout;
  absl::MutexLock lock(&mu_);
  if (stopping_ || jobs_.size() >= kMostWaiting) return false;
  jobs_.push_back({std::move(parameters), std::move(question), std::move(done)});
  return true;
}

void Previewer::Run() {
  for (;;) {
    Job job;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(
          +[](Previewer* self)
               ABSL_EXCLUSIVE_LOCKS_REQUIRED(self->mu_) { return self->stopping_ || !self->jobs_.empty(); },
          this));
      if (stopping_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    const auto connection = sidecar::CatalogConnection::Open(job.parameters, stop_fd_);
    if (connection.ok()) {
      job.done(Gather(**connection, job.question, clock_));
      continue;
    }
    v1::Preview nothing;
    *nothing.mutable_read_time() = ToTimestamp(clock_.Now());
    nothing.set_estimated_rows(-1);
    nothing.set_exact_rows(-1);
    nothing.add_notes(std::string(StdView(connection.status().message())));
    job.done(std::move(nothing));
  }
}

}  // namespace postern::preview
