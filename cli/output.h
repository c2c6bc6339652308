// What commands print: JSON for programs, tables for people.
//
// JSON is the proto's JSON mapping (lowerCamelCase fields, 64-bit integers as strings, times in RFC 3339), one object a
// line. Where the proto has raw bytes of SQL, a text field stands beside it: `statement` in approvals, `sql` in audit
// records.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "google/protobuf/message.h"
#include "postern/v1/audit.pb.h"

namespace postern::cli {

// One line of JSON, without the newline.
std::string ToJson(const google::protobuf::Message& message);

// An audit record with its record decoded and SQL as text.
std::string AuditJson(const v1::LoggedRecord& record);

void PrintLine(std::string_view line);

// Columns sized to their content; the header in bold on a terminal. Cells are made printable.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  // Prints `empty` to stderr instead when there are no rows.
  void Print(std::string_view empty) const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

// True if stdout is a terminal that takes colour (NO_COLOR is honoured).
bool ColourWanted();

// Width of a UTF-8 string in columns, each character taken as one.
size_t Columns(std::string_view text);

}  // namespace postern::cli
