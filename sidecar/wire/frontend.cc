#include "sidecar/wire/frontend.h"

#include "sidecar/wire/cursor.h"

namespace postern::wire {
namespace {

// A count that the rest of the body could hold at `each` bytes per item: checked before anything is allocated.
bool ReadCount(Cursor& cursor, size_t* count) {
  const int16_t n = cursor.Int16();
  // Counts are unsigned on the wire: a Bind may have 65,535 values.
  *count = static_cast<uint16_t>(n);
  return cursor.ok();
}

bool ReadFormats(Cursor& cursor, std::vector<int16_t>* formats) {
  size_t count = 0;
  if (!ReadCount(cursor, &count)) return false;
  for (size_t i = 0; i < count && cursor.ok(); ++i) {
    const int16_t format = cursor.Int16();
    if (format != 0 && format != 1) return false;
    formats->push_back(format);
  }
  return cursor.ok();
}

std::optional<std::string_view> OneString(std::string_view body) {
  Cursor cursor(body);
  const std::string_view text = cursor.String();
  if (!cursor.done()) return std::nullopt;
  return text;
}

}  // namespace

std::optional<ParseView> ParseParse(std::string_view body) {
  Cursor cursor(body);
  ParseView view;
  view.statement = cursor.String();
  view.query = cursor.String();
  size_t count = 0;
  if (!ReadCount(cursor, &count)) return std::nullopt;
  for (size_t i = 0; i < count && cursor.ok(); ++i) view.parameter_types.push_back(cursor.Uint32());
  if (!cursor.done()) return std::nullopt;
  return view;
}

std::optional<BindView> ParseBind(std::string_view body) {
  Cursor cursor(body);
  BindView view;
  view.portal = cursor.String();
  view.statement = cursor.String();
  if (!ReadFormats(cursor, &view.parameter_formats)) return std::nullopt;
  size_t count = 0;
  if (!ReadCount(cursor, &count)) return std::nullopt;
  for (size_t i = 0; i < count && cursor.ok(); ++i) {
    const int32_t length = cursor.Int32();
    if (length == -1) {
      view.values.emplace_back(std::nullopt);
    } else if (length < 0) {
      return std::nullopt;
    } else {
      view.values.emplace_back(cursor.Take(static_cast<size_t>(length)));
    }
  }
  if (!cursor.ok()) return std::nullopt;
  // None, one for all, or one each.
  if (view.parameter_formats.size() > 1 && view.parameter_formats.size() != view.values.size()) return std::nullopt;
  if (!ReadFormats(cursor, &view.result_formats)) return std::nullopt;
  if (!cursor.done()) return std::nullopt;
  return view;
}

std::optional<TargetView> ParseTarget(std::string_view body) {
  Cursor cursor(body);
  TargetView view;
  view.kind = static_cast<char>(cursor.Byte());
  view.name = cursor.String();
  if (!cursor.done() || (view.kind != 'S' && view.kind != 'P')) return std::nullopt;
  return view;
}

std::optional<ExecuteView> ParseExecute(std::string_view body) {
  Cursor cursor(body);
  ExecuteView view;
  view.portal = cursor.String();
  view.max_rows = cursor.Int32();
  if (!cursor.done()) return std::nullopt;
  return view;
}

std::optional<std::string_view> ParseQuery(std::string_view body) { return OneString(body); }
std::optional<std::string_view> ParsePassword(std::string_view body) { return OneString(body); }
std::optional<std::string_view> ParseCopyFail(std::string_view body) { return OneString(body); }

std::optional<SaslInitialView> ParseSaslInitial(std::string_view body) {
  Cursor cursor(body);
  SaslInitialView view;
  view.mechanism = cursor.String();
  const int32_t length = cursor.Int32();
  if (length < -1) return std::nullopt;
  if (length >= 0) view.data = cursor.Take(static_cast<size_t>(length));
  if (!cursor.done()) return std::nullopt;
  return view;
}

std::optional<FunctionCallView> ParseFunctionCall(std::string_view body) {
  Cursor cursor(body);
  FunctionCallView view;
  view.function = cursor.Uint32();
  std::vector<int16_t> formats;
  if (!ReadFormats(cursor, &formats)) return std::nullopt;
  size_t count = 0;
  if (!ReadCount(cursor, &count)) return std::nullopt;
  for (size_t i = 0; i < count && cursor.ok(); ++i) {
    const int32_t length = cursor.Int32();
    if (length < -1) return std::nullopt;
    if (length > 0) cursor.Take(static_cast<size_t>(length));
  }
  cursor.Int16();  // format of the result
  if (!cursor.done()) return std::nullopt;
  return view;
}

}  // namespace postern::wire
