#include "sidecar/catalog/catalog_service.h"

#include <algorithm>
#include <map>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <sys/eventfd.h>
#include <unistd.h>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "common/crypto/hash.h"
#include "fmt/format.h"

namespace postern::sidecar {
namespace {

using Callback = CatalogService::Callback;

// One followed database and the thread that reads it.
class Follower {
 public:
  Follower(const CatalogServiceOptions& options, const Clock& clock, std::string target, std::string database,
           ConnectionParameters parameters)
      : options_(options),
        clock_(clock),
        target_(std::move(target)),
        database_(std::move(database)),
        stop_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        parameters_(std::move(parameters)),
        thread_([this] { Run(); }) {}

  ~Follower() {
    Stop();
    thread_.join();
    if (stop_fd_ >= 0) close(stop_fd_);
  }

  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  void AddSession(const ConnectionParameters& parameters) {
    absl::MutexLock lock(&mu_);
    ++sessions_;
    parameters_ = parameters;
    // What did not work may work with the newer credential.
    if (failing_) wanted_ = true;
    wake_.Signal();
  }

  void RemoveSession() {
    absl::MutexLock lock(&mu_);
    if (--sessions_ == 0) lingers_until_ = clock_.Monotonic() + options_.linger;
    wake_.Signal();
  }

  CatalogPtr catalog() const {
    absl::MutexLock lock(&mu_);
    return catalog_;
  }

  ConnectionParameters parameters() const {
    absl::MutexLock lock(&mu_);
    return parameters_;
  }

  absl::Duration age() const {
    absl::MutexLock lock(&mu_);
    return catalog_ == nullptr ? absl::InfiniteDuration() : clock_.Monotonic() - current_at_;
  }

  void Refresh(Callback done) {
    {
      absl::MutexLock lock(&mu_);
      if (!stopping_) {
        waiting_.push_back(std::move(done));
        wake_.Signal();
        return;
      }
    }
    done(absl::CancelledError("the sidecar is stopping"));
  }

  // Makes the thread end soon, also out of a wait for the server.
  void Stop() {
    absl::MutexLock lock(&mu_);
    StopLocked();
  }

  // True when nobody has followed it for long enough; it is then stopping, and no session may be added.
  bool StopIfIdle() {
    absl::MutexLock lock(&mu_);
    if (sessions_ > 0 || busy_ || !waiting_.empty() || clock_.Monotonic() < lingers_until_) return false;
    StopLocked();
    return true;
  }

 private:
  void StopLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    stopping_ = true;
    const uint64_t one = 1;
    // Cannot fail but for overflow, and then it is readable already.
    [[maybe_unused]] const ssize_t written = write(stop_fd_, &one, sizeof(one));
    wake_.Signal();
  }

  void Run() {
    for (;;) {
      std::vector<Callback> answered;
      ConnectionParameters parameters;
      {
        absl::MutexLock lock(&mu_);
        while (!stopping_ && waiting_.empty() && !wanted_) {
          if (wake_.WaitWithTimeout(&mu_, options_.poll_interval)) break;
        }
        answered.swap(waiting_);
        wanted_ = false;
        busy_ = true;
        parameters = parameters_;
        if (stopping_) {
          Answer(answered, absl::CancelledError("the catalog is no longer followed"));
          return;
        }
      }
      const absl::Status status = Read(parameters, !answered.empty());
      absl::StatusOr<CatalogPtr> answer = catalog();
      if (!status.ok()) answer = status;
      {
        absl::MutexLock lock(&mu_);
        failing_ = !status.ok();
      }
      Answer(answered, answer);
      absl::MutexLock lock(&mu_);
      busy_ = false;
    }
  }

  static void Answer(const std::vector<Callback>& callbacks, const absl::StatusOr<CatalogPtr>& answer) {
    for (const Callback& callback : callbacks) callback(answer);
  }

  // Reads the catalog if it is asked for, missing, or may have changed. A connection that is broken is made anew once.
  absl::Status Read(const ConnectionParameters& parameters, bool asked) {
    const bool fresh = connection_ == nullptr;
    absl::Status status = TryRead(parameters, asked);
    if (!status.ok()) connection_ = nullptr;
    if (absl::IsUnavailable(status) && !fresh) {
      status = TryRead(parameters, asked);
      if (!status.ok()) connection_ = nullptr;
    }
    return status;
  }

  absl::Status TryRead(const ConnectionParameters& parameters, bool asked) {
    if (connection_ == nullptr) {
      POSTERN_ASSIGN_OR_RETURN(connection_, CatalogConnection::Open(parameters, stop_fd_));
    }
    const absl::Duration began = clock_.Monotonic();
    // Before the reading, so that what changes during it shows at the next poll.
    POSTERN_ASSIGN_OR_RETURN(std::string probe, connection_->Probe());
    if (asked || digest_.empty() || probe != probe_) {
      POSTERN_ASSIGN_OR_RETURN(v1::CatalogContents contents, connection_->Load());
      Publish(std::move(contents));
      probe_ = std::move(probe);
    }
    absl::MutexLock lock(&mu_);
    current_at_ = began;
    return absl::OkStatus();
  }

  void Publish(v1::CatalogContents contents) {
    // Messages without maps serialise the same way each time within one process.
    std::string digest = crypto::Sha256(contents.SerializeAsString());
    if (digest == digest_) return;
    CatalogPtr catalog = sql::Catalog::Build(contents);
    v1::CatalogSnapshot snapshot;
    snapshot.set_target(target_);
    snapshot.set_database(database_);
    *snapshot.mutable_contents() = std::move(contents);
    *snapshot.mutable_read_time() = ToTimestamp(clock_.Now());
    if (options_.publish) options_.publish(snapshot, catalog);
    digest_ = std::move(digest);
    absl::MutexLock lock(&mu_);
    catalog_ = std::move(catalog);
  }

  // Constant after construction.
  const CatalogServiceOptions& options_;
  const Clock& clock_;
  const std::string target_;
  const std::string database_;
  const int stop_fd_;

  // Of the thread.
  std::unique_ptr<CatalogConnection> connection_;
  std::string probe_;
  std::string digest_;

  mutable absl::Mutex mu_;
  absl::CondVar wake_;
  int sessions_ ABSL_GUARDED_BY(mu_) = 1;
  absl::Duration lingers_until_ ABSL_GUARDED_BY(mu_);
  ConnectionParameters parameters_ ABSL_GUARDED_BY(mu_);
  std::vector<Callback> waiting_ ABSL_GUARDED_BY(mu_);
  bool wanted_ ABSL_GUARDED_BY(mu_) = true;  // the first reading needs nobody to ask
  bool failing_ ABSL_GUARDED_BY(mu_) = false;
  bool busy_ ABSL_GUARDED_BY(mu_) = false;  // reading or answering: those who are answered may ask again
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  CatalogPtr catalog_ ABSL_GUARDED_BY(mu_);
  absl::Duration current_at_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;  // last: it uses all of the above
};

using Key = std::pair<std::string, std::string>;

}  // namespace

struct CatalogService::Impl {
  Impl(CatalogServiceOptions service_options, const Clock& service_clock)
      : options(std::move(service_options)), clock(service_clock) {}

  std::shared_ptr<Follower> Find(const std::string& target, const std::string& database) const {
    absl::MutexLock lock(&mu);
    const auto it = followers.find({target, database});
    return it == followers.end() ? nullptr : it->second;
  }

  // Takes out those that nobody follows any more. Their destruction waits for a thread, so it is the reaper's.
  std::vector<std::shared_ptr<Follower>> TakeIdle() {
    std::vector<std::shared_ptr<Follower>> idle;
    absl::MutexLock lock(&mu);
    for (auto it = followers.begin(); it != followers.end();) {
      if (it->second->StopIfIdle()) {
        idle.push_back(std::move(it->second));
        it = followers.erase(it);
      } else {
        ++it;
      }
    }
    return idle;
  }

  const CatalogServiceOptions options;
  const Clock& clock;
  mutable absl::Mutex mu;
  std::map<Key, std::shared_ptr<Follower>> followers ABSL_GUARDED_BY(mu);
  absl::CondVar ending;
  bool ended ABSL_GUARDED_BY(mu) = false;
  std::thread reaper;
};

namespace {

class SessionFollowing : public CatalogService::Following {
 public:
  explicit SessionFollowing(std::shared_ptr<Follower> follower) : follower_(std::move(follower)) {}
  ~SessionFollowing() override { follower_->RemoveSession(); }

 private:
  std::shared_ptr<Follower> follower_;
};

}  // namespace

CatalogService::CatalogService(CatalogServiceOptions options, const Clock& clock)
    : impl_(std::make_shared<Impl>(std::move(options), clock)) {
  impl_->reaper = std::thread([impl = impl_.get()] {
    for (;;) {
      impl->TakeIdle();
      absl::MutexLock lock(&impl->mu);
      if (!impl->ended) impl->ending.WaitWithTimeout(&impl->mu, std::max(impl->options.linger / 2, absl::Seconds(1)));
      if (impl->ended) return;
    }
  });
}

CatalogService::~CatalogService() {
  std::map<Key, std::shared_ptr<Follower>> followers;
  {
    absl::MutexLock lock(&impl_->mu);
    impl_->ended = true;
    impl_->ending.Signal();
    followers.swap(impl_->followers);
  }
  impl_->reaper.join();
  for (auto& entry : followers) entry.second->Stop();
}

std::unique_ptr<CatalogService::Following> CatalogService::Follow(const std::string& target,
                                                                  const std::string& database,
                                                                  const ConnectionParameters& parameters) {
  absl::MutexLock lock(&impl_->mu);
  std::shared_ptr<Follower>& follower = impl_->followers[{target, database}];
  if (follower == nullptr) {
    follower = std::make_shared<Follower>(impl_->options, impl_->clock, target, database, parameters);
  } else {
    follower->AddSession(parameters);
  }
  return std::make_unique<SessionFollowing>(follower);
}

CatalogPtr CatalogService::Get(const std::string& target, const std::string& database) const {
  const std::shared_ptr<Follower> follower = impl_->Find(target, database);
  return follower == nullptr ? nullptr : follower->catalog();
}

void CatalogService::Refresh(const std::string& target, const std::string& database, Callback done) {
  const std::shared_ptr<Follower> follower = impl_->Find(target, database);
  if (follower == nullptr) {
    done(Error(absl::StatusCode::kFailedPrecondition, "CATALOG_NOT_FOLLOWED",
               fmt::format("no session is on database {} of target {}", database, target)));
    return;
  }
  follower->Refresh(std::move(done));
}

void CatalogService::GetOrRead(const std::string& target, const std::string& database, Callback done) {
  if (CatalogPtr catalog = Get(target, database)) {
    done(std::move(catalog));
    return;
  }
  Refresh(target, database, std::move(done));
}

std::optional<ConnectionParameters> CatalogService::Parameters(const std::string& target,
                                                               const std::string& database) const {
  const std::shared_ptr<Follower> follower = impl_->Find(target, database);
  if (follower == nullptr) return std::nullopt;
  return follower->parameters();
}

absl::Duration CatalogService::Age(const std::string& target, const std::string& database) const {
  const std::shared_ptr<Follower> follower = impl_->Find(target, database);
  return follower == nullptr ? absl::InfiniteDuration() : follower->age();
}

}  // namespace postern::sidecar
