#include "controlplane/fleet/sync_reactor.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <grpcpp/server_context.h>

#include "absl/synchronization/mutex.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace postern::fleet {
namespace {

// A sidecar that is being cut gets this long to read why, before its connection is simply cancelled.
constexpr absl::Duration kCloseGrace = absl::Milliseconds(500);

absl::Status Unexpected(std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, "SYNC_OUT_OF_ORDER", message);
}

// The call as other threads hold it: outlives the reactor, and does nothing once that is gone.
//
// Locks: mu_ is taken before the subscriber's own, never the other way round (the subscriber calls Wake and Close
// without holding its lock).
class SyncCall : public std::enable_shared_from_this<SyncCall> {
 public:
  using Reactor = grpc::ServerBidiReactor<v1::SyncRequest, v1::SyncResponse>;

  SyncCall(const SyncDeps& deps, grpc::CallbackServerContext* context, Reactor* reactor,
           std::function<absl::StatusOr<SidecarCaller>()> admit)
      : deps_(deps), admit_(std::move(admit)), context_(context), reactor_(reactor) {}

  void Start() {
    deps_.workers.PostAfter(deps_.options.hello_deadline, [weak = weak_from_this()] {
      std::shared_ptr<SyncCall> self = weak.lock();
      if (self == nullptr) return;
      absl::MutexLock lock(&self->mu_);
      if (self->subscriber_ == nullptr) {
        self->CloseLocked(Error(absl::StatusCode::kDeadlineExceeded, "SYNC_OUT_OF_ORDER", "no hello came in time"));
      }
    });
    absl::MutexLock lock(&mu_);
    ReadLocked();
  }

  // Reaction of the stream; `ok` false: it has ended.
  void ReadDone(bool ok) {
    if (!ok) return Close(absl::OkStatus());
    // What is read blocks on stores, so it is handled on a worker; the next message is asked for afterwards, so a
    // sidecar can never pile up work here.
    deps_.workers.Post([self = shared_from_this()] {
      absl::Status status = self->Handle();
      if (!status.ok()) return self->Close(status);
      absl::MutexLock lock(&self->mu_);
      self->ReadLocked();
    });
  }

  void WriteDone(bool ok) {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    if (pending_close_.has_value()) {
      FinishLocked(*pending_close_);
    } else if (!ok) {
      FinishLocked(absl::CancelledError());
    } else {
      WriteLocked();
    }
  }

  void Done() {
    std::shared_ptr<Subscriber> subscriber;
    {
      absl::MutexLock lock(&mu_);
      reactor_ = nullptr;
      context_ = nullptr;
      subscriber = subscriber_;
    }
    if (subscriber != nullptr) deps_.hub.Detach(*subscriber);
  }

  void Wake() {
    absl::MutexLock lock(&mu_);
    WriteLocked();
  }

  void Close(const absl::Status& why) {
    absl::MutexLock lock(&mu_);
    CloseLocked(why);
  }

 private:
  bool OverLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return reactor_ == nullptr || finished_ || pending_close_.has_value();
  }

  void ReadLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!OverLocked()) reactor_->StartRead(&incoming_);
  }

  void WriteLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (OverLocked() || writing_ || subscriber_ == nullptr) return;
    std::optional<v1::SyncResponse> next = subscriber_->Next();
    if (!next.has_value()) return;
    outgoing_ = *std::move(next);
    writing_ = true;
    reactor_->StartWrite(&outgoing_);
  }

  // At once if nothing is being written. Otherwise after that write, which a sidecar that does not read can hold up, so
  // the call is cancelled before long.
  void CloseLocked(const absl::Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (OverLocked()) return;
    if (!writing_ && !admitting_) return FinishLocked(why);
    pending_close_ = why;
    if (admitting_) return;  // before anything was written
    deps_.workers.PostAfter(kCloseGrace, [weak = weak_from_this()] {
      std::shared_ptr<SyncCall> self = weak.lock();
      if (self == nullptr) return;
      absl::MutexLock lock(&self->mu_);
      if (self->context_ != nullptr && !self->finished_) self->context_->TryCancel();
    });
  }

  void FinishLocked(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (reactor_ == nullptr || finished_) return;
    finished_ = true;
    reactor_->Finish(deps_.gate.ToGrpc(status));
  }

  // On a worker, one message at a time; nobody else touches incoming_ meanwhile.
  absl::Status Handle() {
    if (!caller_.has_value()) POSTERN_RETURN_IF_ERROR(AdmitCaller());
    switch (incoming_.item_case()) {
      case v1::SyncRequest::kHello:
        return HandleHello();
      case v1::SyncRequest::kApplied:
        if (mine_ == nullptr) return Unexpected("a stream begins with hello");
        mine_->applied_revision = incoming_.applied().policy_revision();
        return absl::OkStatus();
      case v1::SyncRequest::kSession:
        if (mine_ == nullptr) return Unexpected("a stream begins with hello");
        return HandleSession();
      case v1::SyncRequest::kCatalog:
        if (mine_ == nullptr) return Unexpected("a stream begins with hello");
        return HandleCatalog();
      case v1::SyncRequest::ITEM_NOT_SET:
        // A newer sidecar says something that this version does not know.
        return absl::OkStatus();
    }
    return absl::OkStatus();
  }

  // Reads the call's context, which lives until the call is finished: so meanwhile it is not.
  absl::Status AdmitCaller() {
    {
      absl::MutexLock lock(&mu_);
      if (OverLocked()) return absl::CancelledError();
      admitting_ = true;
    }
    absl::StatusOr<SidecarCaller> caller = admit_();
    absl::MutexLock lock(&mu_);
    admitting_ = false;
    if (pending_close_.has_value()) {
      FinishLocked(*pending_close_);
      return *pending_close_;
    }
    if (!caller.ok()) return caller.status();
    caller_ = *std::move(caller);
    return absl::OkStatus();
  }

  absl::Status HandleHello() {
    if (mine_ != nullptr) return Unexpected("hello is said once");
    const absl::Time now = deps_.clock.Now();
    POSTERN_RETURN_IF_ERROR(deps_.store.MarkCertificateUsed(caller_->certificate.fingerprint, now));
    POSTERN_RETURN_IF_ERROR(deps_.store.RecordHello(caller_->id, incoming_.hello(), now));
    POSTERN_RETURN_IF_ERROR(SaveHelloSessions());
    std::weak_ptr<SyncCall> weak = weak_from_this();
    mine_ = std::make_shared<Subscriber>(caller_->id, caller_->targets, caller_->certificate.expire_time,
                                         std::move(*incoming_.mutable_hello()), deps_.hub.options().outbox,
                                         Subscriber::Stream{.wake =
                                                                [weak] {
                                                                  if (auto self = weak.lock(); self != nullptr)
                                                                    self->Wake();
                                                                },
                                                            .close =
                                                                [weak](absl::Status why) {
                                                                  if (auto self = weak.lock(); self != nullptr)
                                                                    self->Close(why);
                                                                }});
    {
      absl::MutexLock lock(&mu_);
      if (OverLocked()) return absl::CancelledError();
      subscriber_ = mine_;
    }
    POSTERN_RETURN_IF_ERROR(deps_.hub.Attach(mine_));
    for (const v1::Session& session : mine_->hello.live_sessions()) AnswerSaved(session);
    // The call may have ended while it was being attached, after Done() detached what was not a member yet.
    absl::MutexLock lock(&mu_);
    if (reactor_ == nullptr) deps_.hub.Detach(*mine_);
    return absl::OkStatus();
  }

  // Ends that were not saved yet go first: afterwards, what is not live has ended without our knowing why.
  absl::Status SaveHelloSessions() {
    std::vector<v1::Session> live;
    for (v1::Session& session : *incoming_.mutable_hello()->mutable_live_sessions()) {
      session.set_sidecar_id(caller_->id);
      if (session.state() == v1::SESSION_ENDED) {
        POSTERN_RETURN_IF_ERROR(deps_.backend.ReportSession(caller_->id, session));
      } else {
        live.push_back(session);
      }
    }
    return deps_.backend.ReportLiveSessions(caller_->id, live);
  }

  void AnswerSaved(const v1::Session& session) {
    if (session.state() == v1::SESSION_ENDED) deps_.hub.SessionEnded(session.id());
    v1::SyncResponse saved;
    saved.mutable_session_saved()->set_session_id(session.id());
    saved.mutable_session_saved()->set_state(session.state());
    mine_->PushEvent(std::move(saved));
  }

  absl::Status HandleSession() {
    v1::Session& session = *incoming_.mutable_session();
    session.set_sidecar_id(caller_->id);
    POSTERN_RETURN_IF_ERROR(deps_.backend.ReportSession(caller_->id, session));
    AnswerSaved(session);
    return absl::OkStatus();
  }

  absl::Status HandleCatalog() {
    const std::string& target = incoming_.catalog().target();
    for (const std::string& served : caller_->targets) {
      if (served == target) return deps_.catalogs.Publish(incoming_.catalog(), deps_.clock.Now());
    }
    return Unexpected("a catalog of a target that this sidecar does not serve");
  }

  const SyncDeps deps_;
  const std::function<absl::StatusOr<SidecarCaller>()> admit_;

  // Used by the message that is being handled, one at a time.
  std::optional<SidecarCaller> caller_;
  std::shared_ptr<Subscriber> mine_;
  v1::SyncRequest incoming_;

  absl::Mutex mu_;
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(mu_);
  Reactor* reactor_ ABSL_GUARDED_BY(mu_);  // nullptr after the call is done
  std::shared_ptr<Subscriber> subscriber_ ABSL_GUARDED_BY(mu_);
  v1::SyncResponse outgoing_ ABSL_GUARDED_BY(mu_);
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool admitting_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> pending_close_ ABSL_GUARDED_BY(mu_);
};

class SyncReactor final : public SyncCall::Reactor {
 public:
  SyncReactor(const SyncDeps& deps, grpc::CallbackServerContext* context,
              std::function<absl::StatusOr<SidecarCaller>()> admit)
      : call_(std::make_shared<SyncCall>(deps, context, this, std::move(admit))) {
    call_->Start();
  }

  void OnReadDone(bool ok) override { call_->ReadDone(ok); }
  void OnWriteDone(bool ok) override { call_->WriteDone(ok); }
  void OnCancel() override { call_->Close(absl::CancelledError()); }
  void OnDone() override {
    call_->Done();
    delete this;
  }

 private:
  const std::shared_ptr<SyncCall> call_;
};

}  // namespace

grpc::ServerBidiReactor<v1::SyncRequest, v1::SyncResponse>* StartSync(
    const SyncDeps& deps, grpc::CallbackServerContext* context, std::function<absl::StatusOr<SidecarCaller>()> admit) {
  return new SyncReactor(deps, context, std::move(admit));
}

}  // namespace postern::fleet
