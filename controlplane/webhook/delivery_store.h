// Deliveries to webhooks: owed, made, given up.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "postern/v1/approval.pb.h"

namespace postern::webhook {

inline constexpr std::string_view kWaiting = "waiting";
inline constexpr std::string_view kDelivered = "delivered";
inline constexpr std::string_view kDead = "dead";

struct Delivery {
  v1::WebhookDelivery about;
  std::string payload;
};

// Thread-safe. UNAVAILABLE from any of them: unknown; read again before retrying.
class DeliveryStore {
 public:
  virtual ~DeliveryStore() = default;

  // Keeps what is owed, unless the receiver is owed this event of this approval already, or was sent it.
  virtual absl::Status Owe(const Delivery& delivery) = 0;
  // Those that wait and whose next attempt is at or before `now`, earliest first.
  virtual absl::StatusOr<std::vector<Delivery>> Due(absl::Time now, int limit) const = 0;
  // When the next attempt of any is; InfiniteFuture when none waits.
  virtual absl::StatusOr<absl::Time> NextTime() const = 0;
  // Saves state, attempts, next time and error of one. NOT_FOUND/DELIVERY_NOT_FOUND.
  virtual absl::Status Save(const v1::WebhookDelivery& about) = 0;
  // NOT_FOUND/DELIVERY_NOT_FOUND.
  virtual absl::StatusOr<v1::WebhookDelivery> Get(std::string_view id) const = 0;
  // Newest first; of any state when `state` is empty.
  virtual absl::StatusOr<std::vector<v1::WebhookDelivery>> List(std::string_view state, int limit) const = 0;
};

}  // namespace postern::webhook
