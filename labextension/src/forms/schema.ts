/** What forms are made from, as the server sends it. */

/** Settings by section: {Blocks: {walltime: …}}. */
export type Values = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** A JSON schema of one setting, as far as we draw it. */
export interface IFieldSchema {
  readonly title: string;
  readonly description: string;
  readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'array' | 'object';
  readonly default: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly 'x-form'?: string;
  readonly 'x-first'?: boolean;
}

export interface ISlurmPartition {
  readonly name: string;
  readonly about: string;
  readonly default: boolean;
  readonly accounts: readonly string[];
  readonly fitting: Readonly<Record<string, unknown>>;
}

/** GET agent-form. */
export interface IAgentForm {
  readonly schema: {
    readonly properties: Readonly<
      Record<string, { readonly properties: Readonly<Record<string, IFieldSchema>> }>
    >;
  };
  readonly values: Values;
  readonly fitting: Values;
  readonly slurm: {
    readonly accounts: readonly string[];
    readonly partitions: readonly ISlurmPartition[];
  } | null;
  readonly problem: string;
}

export interface IAgentState {
  readonly state: string;
  readonly why: string;
  readonly log: readonly string[];
}
