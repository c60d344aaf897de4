/** What users may call their containers. */
export const CONTAINER_NAME = /^[A-Za-z0-9-]{1,64}$/;
export const CONTAINER_NAME_RULE = '1 to 64 of A-Z, a-z, 0-9 and "-"';
