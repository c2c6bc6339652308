// webhook::DeliveryStore on either engine.
#pragma once

#include "controlplane/store/database.h"
#include "controlplane/webhook/delivery_store.h"

namespace postern::store {

class SqlDeliveryStore : public webhook::DeliveryStore {
 public:
  // `database` outlives the store.
  explicit SqlDeliveryStore(Database& database) : database_(database) {}

  absl::Status Owe(const webhook::Delivery& delivery) override;
  absl::StatusOr<std::vector<webhook::Delivery>> Due(absl::Time now, int limit) const override;
  absl::StatusOr<absl::Time> NextTime() const override;
  absl::Status Save(const v1::WebhookDelivery& about) override;
  absl::StatusOr<v1::WebhookDelivery> Get(std::string_view id) const override;
  absl::StatusOr<std::vector<v1::WebhookDelivery>> List(std::string_view state, int limit) const override;

 private:
  Database& database_;
};

}  // namespace postern::store
