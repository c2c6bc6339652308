#include "controlplane/store/delivery_store.h"

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "controlplane/store/rows.h"
#include "fmt/format.h"

namespace postern::store {
namespace {

constexpr std::string_view kDeliveryColumns =
    "id, webhook, event, approval_id, state, attempts, create_time, next_time, last_error";

v1::WebhookDelivery ReadAbout(const Statement& row) {
  v1::WebhookDelivery about;
  about.set_id(row.Text(0));
  about.set_webhook(row.Text(1));
  about.set_event(row.Text(2));
  about.set_approval_id(row.Text(3));
  about.set_state(row.Text(4));
  about.set_attempts(static_cast<int32_t>(row.Int(5)));
  *about.mutable_create_time() = ToTimestamp(row.Time(6));
  *about.mutable_next_time() = ToTimestamp(row.Time(7));
  about.set_last_error(row.Text(8));
  return about;
}

absl::Status DeliveryNotFound(std::string_view id) {
  return Error(absl::StatusCode::kNotFound, "DELIVERY_NOT_FOUND", fmt::format("there is no delivery {}", id),
               "`postern approval webhook list` shows them");
}

}  // namespace

absl::Status SqlDeliveryStore::Owe(const webhook::Delivery& delivery) {
  const v1::WebhookDelivery& about = delivery.about;
  return database_.Write([&](Connection& db) {
    return db.Run(
        "INSERT INTO webhook_deliveries(id, webhook, event, approval_id, state, attempts, create_time, next_time, "
        "last_error, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', ?) ON CONFLICT DO NOTHING",
        about.id(), about.webhook(), about.event(), about.approval_id(), about.state(), about.attempts(),
        FromTimestamp(about.create_time()), FromTimestamp(about.next_time()), Blob{delivery.payload});
  });
}

absl::StatusOr<std::vector<webhook::Delivery>> SqlDeliveryStore::Due(absl::Time now, int limit) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows = reader->Prepare(
      fmt::format("SELECT {}, payload FROM webhook_deliveries WHERE state = 'waiting' AND next_time <= ? "
                  "ORDER BY next_time LIMIT ?",
                  kDeliveryColumns));
  rows.BindAll(now, limit);
  return ReadAll<webhook::Delivery>(rows, [](const Statement& row) -> absl::StatusOr<webhook::Delivery> {
    return webhook::Delivery{ReadAbout(row), row.Bytes(9)};
  });
}

absl::StatusOr<absl::Time> SqlDeliveryStore::NextTime() const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement row = reader->Prepare("SELECT min(next_time) FROM webhook_deliveries WHERE state = 'waiting'");
  if (!row.Step()) return row.status();
  return row.IsNull(0) ? absl::InfiniteFuture() : row.Time(0);
}

absl::Status SqlDeliveryStore::Save(const v1::WebhookDelivery& about) {
  return database_.Write([&](Connection& db) -> absl::Status {
    POSTERN_RETURN_IF_ERROR(
        db.Run("UPDATE webhook_deliveries SET state = ?, attempts = ?, next_time = ?, last_error = ? WHERE id = ?",
               about.state(), about.attempts(), FromTimestamp(about.next_time()), about.last_error(), about.id()));
    return db.changes() == 1 ? absl::OkStatus() : DeliveryNotFound(about.id());
  });
}

absl::StatusOr<v1::WebhookDelivery> SqlDeliveryStore::Get(std::string_view id) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement row = reader->Prepare(fmt::format("SELECT {} FROM webhook_deliveries WHERE id = ?", kDeliveryColumns));
  const auto read = [](const Statement& found) -> absl::StatusOr<v1::WebhookDelivery> { return ReadAbout(found); };
  return ReadOne<v1::WebhookDelivery>(row.BindAll(id), read, [&] { return DeliveryNotFound(id); });
}

absl::StatusOr<std::vector<v1::WebhookDelivery>> SqlDeliveryStore::List(std::string_view state, int limit) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Conditions where;
  if (!state.empty()) where.Add("state = ?", std::string(state));
  Statement rows = reader->Prepare(
      fmt::format("SELECT {} FROM webhook_deliveries{} ORDER BY id DESC LIMIT ?", kDeliveryColumns, where.Clause()));
  rows.Bind(where.BindTo(rows), limit);
  return ReadAll<v1::WebhookDelivery>(
      rows, [](const Statement& row) -> absl::StatusOr<v1::WebhookDelivery> { return ReadAbout(row); });
}

}  // namespace postern::store
