#include "controlplane/server/approval_rpc.h"

#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "controlplane/server/grpc_status.h"

namespace postern::server {
namespace {

using approval::Approval;
using approval::Approvals;
using identity::Caller;
using v1::AuditRecord;

// A watcher that is this far behind watches again instead.
constexpr size_t kMostQueued = 1000;

// One watch. Changes come on the threads that make them, and are written one at a time.
class WatchReactor final : public grpc::ServerWriteReactor<v1::Approval> {
 public:
  WatchReactor(Approvals& approvals, std::string only_id) : approvals_(approvals), only_id_(std::move(only_id)) {}

  // Starts the watch for an admitted caller, or ends it with an error. Once, on a worker.
  void Open(const absl::StatusOr<Caller>& caller) {
    absl::Status status = caller.ok() ? Begin(*caller) : caller.status();
    absl::MutexLock lock(&mu_);
    opened_ = true;
    if (!status.ok()) end_ = ToGrpc(status);
    // What is pending now goes first; what changed since follows it.
    queue_.insert(queue_.begin(), std::make_move_iterator(first_.begin()), std::make_move_iterator(first_.end()));
    first_.clear();
    Advance();
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    queue_.pop_front();
    if (!ok && !end_.has_value()) end_ = grpc::Status::CANCELLED;
    Advance();
  }

  void OnCancel() override {
    absl::MutexLock lock(&mu_);
    if (!end_.has_value()) end_ = grpc::Status::CANCELLED;
    // The write that is out comes back first; an opening that runs comes to its end.
    Advance();
  }

  void OnDone() override {
    // Whoever called Finish() may still be inside the lock.
    { absl::MutexLock lock(&mu_); }
    if (subscription_.has_value()) approvals_.Unsubscribe(*subscription_);
    delete this;
  }

 private:
  absl::Status Begin(const Caller& caller) {
    caller_ = caller;
    subscription_ = approvals_.Subscribe([this](const v1::Approval& changed) { Offer(changed); });
    if (!only_id_.empty()) {
      POSTERN_ASSIGN_OR_RETURN(v1::Approval current, approvals_.Get(caller, only_id_));
      first_.push_back(std::move(current));
      return absl::OkStatus();
    }
    v1::ListApprovalsRequest request;
    request.set_state(v1::APPROVAL_PENDING);
    request.set_page_size(1000);
    do {
      v1::ListApprovalsResponse page;
      POSTERN_RETURN_IF_ERROR(approvals_.List(caller, request, &page));
      // Oldest first, as they came.
      first_.insert(first_.begin(), page.approvals().rbegin(), page.approvals().rend());
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    return absl::OkStatus();
  }

  void Offer(const v1::Approval& changed) {
    if (!only_id_.empty() && changed.id() != only_id_) return;
    std::optional<v1::Approval> view = approvals_.ViewFor(caller_, changed);
    if (!view.has_value()) return;
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return;
    if (queue_.size() >= kMostQueued) {
      end_ = ToGrpc(Error(absl::StatusCode::kResourceExhausted, "WATCH_TOO_SLOW",
                          "the watcher does not keep up with the changes", "watch again"));
    } else {
      queue_.push_back(*std::move(view));
    }
    Advance();
  }

  // Writes the next one, or ends the stream, when nothing is under way.
  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!opened_ || writing_ || finished_) return;
    if (last_was_final_ && !end_.has_value()) end_ = grpc::Status::OK;
    if (end_.has_value()) {
      finished_ = true;
      Finish(*end_);
    } else if (!queue_.empty()) {
      writing_ = true;
      last_was_final_ = !only_id_.empty() && Approval(queue_.front(), {}, 0).IsFinal();
      StartWrite(&queue_.front());
    }
  }

  Approvals& approvals_;
  const std::string only_id_;
  // Set by Begin() before anybody reads them: Offer() runs from Subscribe() on, OnDone() after Finish().
  Caller caller_;
  std::optional<int64_t> subscription_;
  std::vector<v1::Approval> first_;

  absl::Mutex mu_;
  bool opened_ ABSL_GUARDED_BY(mu_) = false;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  bool last_was_final_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mu_);
  // The front is the one being written.
  std::deque<v1::Approval> queue_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

grpc::Status ApprovalRpc::ListApprovals(grpc::ServerContext* context, const v1::ListApprovalsRequest* request,
                                        v1::ListApprovalsResponse* response) {
  return gate_.Run(*context, "ApprovalService/ListApprovals", *request, response,
                   [&](const Caller& caller, AuditRecord&) { return approvals_.List(caller, *request, response); });
}

grpc::Status ApprovalRpc::GetApproval(grpc::ServerContext* context, const v1::GetApprovalRequest* request,
                                      v1::Approval* response) {
  return gate_.Run(*context, "ApprovalService/GetApproval", *request, response,
                   [&](const Caller& caller, AuditRecord&) -> absl::Status {
                     POSTERN_ASSIGN_OR_RETURN(*response, approvals_.Get(caller, request->id()));
                     return absl::OkStatus();
                   });
}

grpc::Status ApprovalRpc::ApproveApproval(grpc::ServerContext* context, const v1::DecideApprovalRequest* request,
                                          v1::Approval* response) {
  return gate_.Run(*context, "ApprovalService/ApproveApproval", *request, response,
                   [&](const Caller& caller, AuditRecord& act) -> absl::Status {
                     act.set_approval_id(request->id());
                     POSTERN_ASSIGN_OR_RETURN(*response, approvals_.Decide(caller, *request, /*approve=*/true));
                     return absl::OkStatus();
                   });
}

grpc::Status ApprovalRpc::DenyApproval(grpc::ServerContext* context, const v1::DecideApprovalRequest* request,
                                       v1::Approval* response) {
  return gate_.Run(*context, "ApprovalService/DenyApproval", *request, response,
                   [&](const Caller& caller, AuditRecord& act) -> absl::Status {
                     act.set_approval_id(request->id());
                     POSTERN_ASSIGN_OR_RETURN(*response, approvals_.Decide(caller, *request, /*approve=*/false));
                     return absl::OkStatus();
                   });
}

grpc::Status ApprovalRpc::CancelApproval(grpc::ServerContext* context, const v1::CancelApprovalRequest* request,
                                         v1::Approval* response) {
  return gate_.Run(*context, "ApprovalService/CancelApproval", *request, response,
                   [&](const Caller& caller, AuditRecord& act) -> absl::Status {
                     act.set_approval_id(request->id());
                     POSTERN_ASSIGN_OR_RETURN(*response, approvals_.Cancel(caller, *request));
                     return absl::OkStatus();
                   });
}

grpc::Status ApprovalRpc::BreakGlass(grpc::ServerContext* context, const v1::BreakGlassRequest* request,
                                     v1::Approval* response) {
  return gate_.Run(*context, "ApprovalService/BreakGlass", *request, response,
                   [&](const Caller& caller, AuditRecord& act) -> absl::Status {
                     act.set_approval_id(request->id());
                     POSTERN_ASSIGN_OR_RETURN(*response, approvals_.BreakGlass(caller, *request));
                     return absl::OkStatus();
                   });
}

grpc::Status ApprovalRpc::ReviewApproval(grpc::ServerContext* context, const v1::ReviewApprovalRequest* request,
                                         v1::Approval* response) {
  return gate_.Run(*context, "ApprovalService/ReviewApproval", *request, response,
                   [&](const Caller& caller, AuditRecord& act) -> absl::Status {
                     act.set_approval_id(request->id());
                     POSTERN_ASSIGN_OR_RETURN(*response, approvals_.Review(caller, *request));
                     return absl::OkStatus();
                   });
}

grpc::Status ApprovalRpc::CreateDelegation(grpc::ServerContext* context, const v1::CreateDelegationRequest* request,
                                           v1::Delegation* response) {
  return gate_.Run(*context, "ApprovalService/CreateDelegation", *request, response,
                   [&](const Caller& caller, AuditRecord& act) -> absl::Status {
                     (*act.mutable_detail())["to"] = request->to();
                     POSTERN_ASSIGN_OR_RETURN(*response, approvals_.Delegate(caller, *request));
                     act.set_object(response->id());
                     return absl::OkStatus();
                   });
}

grpc::Status ApprovalRpc::ListDelegations(grpc::ServerContext* context, const v1::ListDelegationsRequest* request,
                                          v1::ListDelegationsResponse* response) {
  return gate_.Run(*context, "ApprovalService/ListDelegations", *request, response, [&](const Caller&, AuditRecord&) {
    for (v1::Delegation& one : approvals_.Delegations()) *response->add_delegations() = std::move(one);
    return absl::OkStatus();
  });
}

grpc::Status ApprovalRpc::DeleteDelegation(grpc::ServerContext* context, const v1::DeleteDelegationRequest* request,
                                           v1::DeleteDelegationResponse* response) {
  return gate_.Run(*context, "ApprovalService/DeleteDelegation", *request, response,
                   [&](const Caller& caller, AuditRecord& act) {
                     act.set_object(request->id());
                     return approvals_.EndDelegation(caller, request->id());
                   });
}

grpc::Status ApprovalRpc::ListTemplates(grpc::ServerContext* context, const v1::ListTemplatesRequest* request,
                                        v1::ListTemplatesResponse* response) {
  return gate_.Run(
      *context, "ApprovalService/ListTemplates", *request, response, [&](const Caller&, AuditRecord&) -> absl::Status {
        POSTERN_ASSIGN_OR_RETURN(std::vector<v1::ApprovalTemplate> found, approvals_.Templates(request->all()));
        for (v1::ApprovalTemplate& one : found) *response->add_templates() = std::move(one);
        return absl::OkStatus();
      });
}

grpc::Status ApprovalRpc::RevokeTemplate(grpc::ServerContext* context, const v1::RevokeTemplateRequest* request,
                                         v1::ApprovalTemplate* response) {
  return gate_.Run(*context, "ApprovalService/RevokeTemplate", *request, response,
                   [&](const Caller& caller, AuditRecord& act) -> absl::Status {
                     act.set_object(request->id());
                     POSTERN_ASSIGN_OR_RETURN(*response, approvals_.RevokeTemplate(caller, request->id()));
                     return absl::OkStatus();
                   });
}

grpc::Status ApprovalRpc::ListWebhookDeliveries(grpc::ServerContext* context,
                                                const v1::ListWebhookDeliveriesRequest* request,
                                                v1::ListWebhookDeliveriesResponse* response) {
  return gate_.Run(*context, "ApprovalService/ListWebhookDeliveries", *request, response,
                   [&](const Caller&, AuditRecord&) -> absl::Status {
                     POSTERN_ASSIGN_OR_RETURN(std::vector<v1::WebhookDelivery> found, dispatcher_.List(*request));
                     for (v1::WebhookDelivery& one : found) *response->add_deliveries() = std::move(one);
                     return absl::OkStatus();
                   });
}

grpc::Status ApprovalRpc::RetryWebhookDelivery(grpc::ServerContext* context,
                                               const v1::RetryWebhookDeliveryRequest* request,
                                               v1::WebhookDelivery* response) {
  return gate_.Run(*context, "ApprovalService/RetryWebhookDelivery", *request, response,
                   [&](const Caller&, AuditRecord& act) -> absl::Status {
                     act.set_object(request->id());
                     POSTERN_ASSIGN_OR_RETURN(*response, dispatcher_.Retry(request->id()));
                     return absl::OkStatus();
                   });
}

grpc::ServerWriteReactor<v1::Approval>* ApprovalRpc::WatchApprovals(grpc::CallbackServerContext* context,
                                                                    const v1::WatchApprovalsRequest* request) {
  auto* reactor = new WatchReactor(approvals_, request->id());
  // The reactor, and with it the context, lives until it finishes, which it does not before Open() has run.
  workers_.Post([this, reactor, context] { reactor->Open(gate_.Admit(*context, "ApprovalService/WatchApprovals")); });
  return reactor;
}

}  // namespace postern::server
