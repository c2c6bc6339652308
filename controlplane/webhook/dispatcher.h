// Sends what happens to approvals to webhooks: at least once, signed, again after failures, given up after a while.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "controlplane/approval/approval_store.h"
#include "controlplane/approval/approvals.h"
#include "controlplane/webhook/delivery_store.h"
#include "controlplane/webhook/webhook.h"

namespace postern::webhook {

// Posts `body` to the endpoint with these headers. OK only for an answer of 2xx.
using Post = std::function<absl::Status(const Endpoint& endpoint, const std::vector<std::string>& headers,
                                        const std::string& body)>;

// Thread-safe. Owns one thread; the destructor joins it.
class Dispatcher {
 public:
  // All arguments outlive the object. What is pending already, and what was decided while nobody listened, is owed from
  // the beginning.
  Dispatcher(std::vector<Endpoint> endpoints, approval::Approvals& approvals, const approval::ApprovalStore& store,
             DeliveryStore& deliveries, Post post, const Clock& clock, Random& random);
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  absl::StatusOr<std::vector<v1::WebhookDelivery>> List(const v1::ListWebhookDeliveriesRequest& request) const;
  // A dead one waits again, with all its attempts. FAILED_PRECONDITION/DELIVERY_NOT_DEAD.
  absl::StatusOr<v1::WebhookDelivery> Retry(std::string_view id);

  // Notes what has happened and sends what is due. The thread does it when the time comes; tests call it after moving
  // the clock.
  void SendDue();

 private:
  void Run();
  void CatchUp();
  void Owe(const v1::Approval& approval);
  void Attempt(const Delivery& delivery);
  void Wake();

  std::map<std::string, Endpoint> endpoints_;
  approval::Approvals& approvals_;
  const approval::ApprovalStore& store_;
  DeliveryStore& deliveries_;
  const Post post_;
  const Clock& clock_;
  Random& random_;
  int64_t subscription_ = 0;

  absl::Mutex sending_mu_;  // one sender at a time
  absl::Mutex mu_;
  std::deque<v1::Approval> news_ ABSL_GUARDED_BY(mu_);
  bool wake_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace postern::webhook
