// Small helpers that the SQLite stores share: from rows to values, from filters to WHERE clauses.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "controlplane/store/database.h"

namespace postern::store {

// Parses a serialized message. DATA_LOSS/STORE_CORRUPT if it is none.
template <typename Message>
absl::Status ParseBody(const std::string& bytes, Message& message) {
  if (message.ParseFromString(bytes)) return absl::OkStatus();
  return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT", "the store is damaged: a row does not parse",
               "restore the data folder from a backup");
}

// The first row by `read`, or `none()` when there is no row.
template <typename T, typename Read, typename None>
absl::StatusOr<T> ReadOne(Statement& rows, const Read& read, const None& none) {
  if (rows.Step()) return read(rows);
  POSTERN_RETURN_IF_ERROR(rows.status());
  return none();
}

// Every row by `read`.
template <typename T, typename Read>
absl::StatusOr<std::vector<T>> ReadAll(Statement& rows, const Read& read) {
  std::vector<T> all;
  while (rows.Step()) {
    POSTERN_ASSIGN_OR_RETURN(T one, read(rows));
    all.push_back(std::move(one));
  }
  POSTERN_RETURN_IF_ERROR(rows.status());
  return all;
}

// Conditions joined by AND, each with at most one parameter. Texts are ours, never a caller's.
class Conditions {
 public:
  void Add(std::string_view condition) { Append(condition); }
  void Add(std::string_view condition, std::string value) {
    Append(condition);
    values_.emplace_back(std::move(value));
  }
  void Add(std::string_view condition, int64_t value) {
    Append(condition);
    values_.emplace_back(value);
  }

  void AddBytes(std::string_view condition, std::string value) {
    Append(condition);
    values_.emplace_back(Bytes{std::move(value)});
  }

  // " WHERE …", or nothing when there are none.
  const std::string& Clause() const { return clause_; }
  // Binds the values from parameter 1 on; returns the next free parameter.
  int BindTo(Statement& statement) const {
    int index = 1;
    for (const auto& value : values_) {
      std::visit([&](const auto& bound) { BindOne(statement, index, bound); }, value);
      ++index;
    }
    return index;
  }

 private:
  struct Bytes {
    std::string bytes;
  };
  static void BindOne(Statement& statement, int index, const Bytes& value) { statement.Bind(index, Blob{value.bytes}); }
  static void BindOne(Statement& statement, int index, const std::string& value) { statement.Bind(index, value); }
  static void BindOne(Statement& statement, int index, int64_t value) { statement.Bind(index, value); }
  void Append(std::string_view condition) {
    clause_ += clause_.empty() ? " WHERE " : " AND ";
    clause_ += condition;
  }
  std::string clause_;
  std::vector<std::variant<std::string, Bytes, int64_t>> values_;
};

}  // namespace postern::store
