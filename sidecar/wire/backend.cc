#include "sidecar/wire/backend.h"

#include <charconv>

#include "sidecar/wire/cursor.h"

namespace postern::wire {

std::optional<std::vector<FieldView>> ParseRowDescription(std::string_view body) {
  Cursor cursor(body);
  const int16_t count = cursor.Int16();
  if (count < 0) return std::nullopt;
  std::vector<FieldView> fields;
  for (int i = 0; i < count && cursor.ok(); ++i) {
    FieldView field;
    field.name = cursor.String();
    field.table = cursor.Uint32();
    field.attnum = cursor.Int16();
    field.type = cursor.Uint32();
    cursor.Int16();  // size of the type
    cursor.Int32();  // type modifier
    field.format = cursor.Int16();
    fields.push_back(field);
  }
  if (!cursor.done()) return std::nullopt;
  return fields;
}

std::optional<ErrorView> ParseError(std::string_view body) {
  Cursor cursor(body);
  ErrorView view;
  for (;;) {
    const char code = static_cast<char>(cursor.Byte());
    if (!cursor.ok()) return std::nullopt;
    if (code == '\0') break;
    const std::string_view text = cursor.String();
    if (code == 'V' || (code == 'S' && view.severity.empty())) view.severity = text;
    if (code == 'C') view.sqlstate = text;
    if (code == 'M') view.message = text;
    if (code == 'D') view.detail = text;
    if (code == 'H') view.hint = text;
  }
  if (!cursor.done()) return std::nullopt;
  return view;
}

std::optional<KeyDataView> ParseKeyData(std::string_view body) {
  Cursor cursor(body);
  KeyDataView view;
  view.process_id = cursor.Uint32();
  view.secret_key = cursor.Rest();
  if (!cursor.ok() || view.secret_key.size() < 4 || view.secret_key.size() > 256) return std::nullopt;
  return view;
}

std::optional<AuthenticationView> ParseAuthentication(std::string_view body) {
  Cursor cursor(body);
  AuthenticationView view;
  view.code = cursor.Int32();
  view.data = cursor.Rest();
  if (!cursor.ok()) return std::nullopt;
  return view;
}

std::optional<std::vector<std::string_view>> ParseMechanisms(std::string_view data) {
  Cursor cursor(data);
  std::vector<std::string_view> names;
  for (;;) {
    const std::string_view name = cursor.String();
    if (!cursor.ok()) return std::nullopt;
    if (name.empty()) break;
    names.push_back(name);
  }
  if (!cursor.done()) return std::nullopt;
  return names;
}

std::optional<std::pair<std::string_view, std::string_view>> ParseParameterStatus(std::string_view body) {
  Cursor cursor(body);
  const std::string_view name = cursor.String();
  const std::string_view value = cursor.String();
  if (!cursor.done()) return std::nullopt;
  return std::pair(name, value);
}

std::optional<char> ParseReady(std::string_view body) {
  if (body.size() != 1 || (body[0] != 'I' && body[0] != 'T' && body[0] != 'E')) return std::nullopt;
  return body[0];
}

std::optional<std::string_view> ParseCommandComplete(std::string_view body) {
  Cursor cursor(body);
  const std::string_view tag = cursor.String();
  if (!cursor.done()) return std::nullopt;
  return tag;
}

std::optional<CopyResponseView> ParseCopyResponse(std::string_view body) {
  Cursor cursor(body);
  CopyResponseView view;
  view.binary = cursor.Byte() != 0;
  view.columns = cursor.Int16();
  for (int i = 0; i < view.columns && cursor.ok(); ++i) cursor.Int16();
  if (!cursor.done() || view.columns < 0) return std::nullopt;
  return view;
}

std::optional<int64_t> RowsOfTag(std::string_view tag) {
  const size_t space = tag.rfind(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const std::string_view digits = tag.substr(space + 1);
  int64_t rows = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), rows);
  if (ec != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return rows;
}

}  // namespace postern::wire
