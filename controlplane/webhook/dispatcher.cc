#include "controlplane/webhook/dispatcher.h"

#include <algorithm>
#include <utility>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "common/obs/log.h"
#include "fmt/format.h"

namespace postern::webhook {
namespace {

constexpr int kBatch = 50;
// What may have happened unheard, between two runs.
constexpr int kRecent = 200;
constexpr absl::Duration kLongestWait = absl::Seconds(30);
constexpr size_t kLongestError = 200;

}  // namespace

Dispatcher::Dispatcher(std::vector<Endpoint> endpoints, approval::Approvals& approvals,
                       const approval::ApprovalStore& store, DeliveryStore& deliveries, Post post, const Clock& clock,
                       Random& random)
    : approvals_(approvals),
      store_(store),
      deliveries_(deliveries),
      post_(std::move(post)),
      clock_(clock),
      random_(random) {
  for (Endpoint& endpoint : endpoints) {
    std::string name = endpoint.name;
    endpoints_.emplace(std::move(name), std::move(endpoint));
  }
  subscription_ = approvals_.Subscribe([this](const v1::Approval& changed) {
    absl::MutexLock lock(&mu_);
    news_.push_back(changed);
    wake_ = true;
  });
  CatchUp();
  thread_ = std::thread([this] { Run(); });
}

Dispatcher::~Dispatcher() {
  approvals_.Unsubscribe(subscription_);
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  thread_.join();
}

void Dispatcher::CatchUp() {
  const auto recent = store_.List({.limit = kRecent});
  // The store is away: what waits there is told with the next change, or after the next start.
  if (!recent.ok()) return;
  for (auto one = recent->rbegin(); one != recent->rend(); ++one) Owe(one->body());
}

void Dispatcher::Owe(const v1::Approval& approval) {
  for (const auto& [name, endpoint] : endpoints_) {
    for (const std::string& event : EventsOf(approval)) {
      if (!Wants(endpoint, approval, event)) continue;
      const absl::Time now = clock_.Now();
      Delivery delivery;
      delivery.about.set_id(NewId(kDeliveryPrefix, now, random_));
      delivery.about.set_webhook(name);
      delivery.about.set_event(event);
      delivery.about.set_approval_id(approval.id());
      delivery.about.set_state(std::string(kWaiting));
      *delivery.about.mutable_create_time() = ToTimestamp(now);
      *delivery.about.mutable_next_time() = ToTimestamp(now);
      delivery.payload = Payload(endpoint, approval, event, delivery.about.id());
      const absl::Status owed = deliveries_.Owe(delivery);
      if (!owed.ok()) obs::LogStatus(obs::Level::kError, "a webhook is not told", owed);
    }
  }
}

void Dispatcher::Attempt(const Delivery& delivery) {
  v1::WebhookDelivery about = delivery.about;
  const auto endpoint = endpoints_.find(about.webhook());
  absl::Status sent =
      Error(absl::StatusCode::kNotFound, "WEBHOOK_GONE", "the configuration names no such webhook any more");
  if (endpoint != endpoints_.end()) {
    const std::string body = Outgoing(endpoint->second, delivery.payload);
    std::vector<std::string> headers = {"Content-Type: application/json",
                                        fmt::format("Postern-Delivery: {}", about.id()),
                                        fmt::format("Postern-Event: {}", about.event())};
    if (!endpoint->second.secret.empty()) {
      headers.push_back(
          fmt::format("Postern-Signature: {}", Signature(endpoint->second.secret, about.id(), body, clock_.Now())));
    }
    sent = post_(endpoint->second, headers, body);
  }
  about.set_attempts(about.attempts() + 1);
  if (sent.ok()) {
    about.set_state(std::string(kDelivered));
    about.set_last_error("");
  } else {
    about.set_last_error(std::string(sent.message()).substr(0, kLongestError));
    const absl::Duration pause = endpoint == endpoints_.end() ? absl::InfiniteDuration() : RetryAfter(about.attempts());
    if (pause == absl::InfiniteDuration()) {
      about.set_state(std::string(kDead));
      obs::Log(obs::Level::kError, "a webhook delivery is given up",
               {{"webhook", about.webhook()}, {"delivery", about.id()}, {"why", about.last_error()}});
    } else {
      *about.mutable_next_time() = ToTimestamp(clock_.Now() + pause);
    }
  }
  const absl::Status saved = deliveries_.Save(about);
  // It is sent again then; receivers know its id.
  if (!saved.ok()) obs::LogStatus(obs::Level::kWarning, "a webhook delivery's outcome is not kept", saved);
}

void Dispatcher::SendDue() {
  absl::MutexLock sending(&sending_mu_);
  std::deque<v1::Approval> news;
  {
    absl::MutexLock lock(&mu_);
    news.swap(news_);
    wake_ = false;
  }
  for (const v1::Approval& changed : news) Owe(changed);
  const absl::StatusOr<std::vector<Delivery>> due = deliveries_.Due(clock_.Now(), kBatch);
  if (!due.ok()) return;
  for (const Delivery& delivery : *due) {
    {
      absl::MutexLock lock(&mu_);
      if (stopping_) return;
    }
    Attempt(delivery);
  }
}

void Dispatcher::Run() {
  while (true) {
    SendDue();
    const absl::StatusOr<absl::Time> next = deliveries_.NextTime();
    absl::Duration wait = kLongestWait;
    if (next.ok()) wait = std::clamp(*next - clock_.Now(), absl::Milliseconds(100), kLongestWait);
    absl::MutexLock lock(&mu_);
    mu_.AwaitWithTimeout(
        absl::Condition(
            +[](Dispatcher* self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(self->mu_) { return self->stopping_ || self->wake_; },
            this),
        wait);
    if (stopping_) return;
  }
}

void Dispatcher::Wake() {
  absl::MutexLock lock(&mu_);
  wake_ = true;
}

absl::StatusOr<std::vector<v1::WebhookDelivery>> Dispatcher::List(
    const v1::ListWebhookDeliveriesRequest& request) const {
  const int limit = request.page_size() <= 0 ? 50 : std::min(request.page_size(), 1000);
  return deliveries_.List(request.state(), limit);
}

absl::StatusOr<v1::WebhookDelivery> Dispatcher::Retry(std::string_view id) {
  POSTERN_ASSIGN_OR_RETURN(v1::WebhookDelivery about, deliveries_.Get(id));
  if (about.state() != kDead) {
    return Error(absl::StatusCode::kFailedPrecondition, "DELIVERY_NOT_DEAD",
                 fmt::format("delivery {} is {}", id, about.state()),
                 "only those that were given up are taken up again");
  }
  about.set_state(std::string(kWaiting));
  about.set_attempts(0);
  *about.mutable_next_time() = ToTimestamp(clock_.Now());
  POSTERN_RETURN_IF_ERROR(deliveries_.Save(about));
  Wake();
  return about;
}

}  // namespace postern::webhook
