// What somebody did, in words: the names of the activity record without their punctuation.
export function eventWords(event: string): string {
  return event.replace(/^server:/, "").replaceAll(/[.:_-]/g, " ");
}
