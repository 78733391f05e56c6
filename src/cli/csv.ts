/** Tables as CSV: RFC 4180, and safe to open in a spreadsheet. Pure. */

/**
 * Rows with CRLF at their ends. Cells are quoted where they hold a comma, a quote or a line break. A text that a spreadsheet
 * would take for a formula gets an apostrophe before it, which spreadsheets do not show.
 * https://www.rfc-editor.org/rfc/rfc4180
 * https://owasp.org/www-community/attacks/CSV_Injection
 */
export function csvText(rows: readonly (readonly (string | number | null)[])[]): string {
  return rows.map((row) => `${row.map(cell).join(',')}\r\n`).join('');
}

function cell(value: string | number | null): string {
  if (value === null) return '';
  if (typeof value === 'number') return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
