#include "cli/output.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <unistd.h>

#include "cli/text.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"

namespace postern::cli {
namespace {

std::string MessageJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  return status.ok() ? json : "{}";
}

// Raw bytes as text: what is not UTF-8 becomes U+FFFD, so that the line stays valid JSON.
std::string AsText(const std::string& bytes) {
  return nlohmann::json(bytes).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string ToJson(const google::protobuf::Message& message) { return MessageJson(message); }

std::string AuditJson(const v1::LoggedRecord& logged) {
  v1::AuditRecord record;
  record.ParseFromString(logged.chained().record());
  auto json = nlohmann::ordered_json::parse(MessageJson(record), nullptr, false);
  if (!record.sql().empty() || json.contains("sql")) {
    json["sql"] = nlohmann::ordered_json::parse(AsText(record.sql()));
  }
  for (int i = 0; i < record.values_size(); ++i) {
    if (record.values(i).format() == 0) {
      json["values"][static_cast<size_t>(i)]["value"] = nlohmann::ordered_json::parse(AsText(record.values(i).value()));
    }
  }
  auto outer = nlohmann::ordered_json::parse(MessageJson(logged), nullptr, false);
  nlohmann::ordered_json line;
  line["leafIndex"] = outer["leafIndex"];
  line["ingestTime"] = outer.contains("ingestTime") ? outer["ingestTime"] : nullptr;
  line["writer"] = logged.chained().writer();
  line["epoch"] = logged.chained().epoch();
  line["sequence"] = outer["chained"]["sequence"];
  line["chainHash"] = outer["chained"]["chainHash"];
  for (auto& [key, value] : json.items()) line[key] = value;
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void PrintLine(std::string_view line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

bool ColourWanted() {
  const char* no_colour = std::getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) == 1 && (no_colour == nullptr || *no_colour == '\0');
}

size_t Columns(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

void Table::Print(std::string_view empty) const {
  if (rows_.empty()) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(empty.size()), empty.data());
    return;
  }
  std::vector<size_t> widths(header_.size(), 0);
  const auto measure = [&widths](const std::vector<std::string>& row) {
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      widths[i] = std::max(widths[i], Columns(Printable(row[i])));
    }
  };
  measure(header_);
  for (const auto& row : rows_) measure(row);
  const auto print = [&widths](const std::vector<std::string>& row) {
    std::string line;
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      const std::string cell = Printable(row[i]);
      line += cell;
      if (i + 1 < row.size()) line += std::string(widths[i] - Columns(cell) + 2, ' ');
    }
    return line;
  };
  PrintLine(ColourWanted() ? "\033[1m" + print(header_) + "\033[0m" : print(header_));
  for (const auto& row : rows_) PrintLine(print(row));
}

}  // namespace postern::cli
