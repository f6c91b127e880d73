// module sup
(* src = "hw/control/supervisor.py:157" *)
module sup(
  abort, abort_request, bus_idle, busy, clear, clk, counting, done, draining, error, errors__0, errors__1, errors__2,
  finished, irq, irq_clear, irq_enable, irq_status, progress, report, rst, run, soft_reset, start, start_refused,
  started, watchdog
);
  (* src = "hw/control/supervisor.py:133" *)
  output abort;
  (* src = "hw/control/supervisor.py:123" *)
  input abort_request;
  (* src = "hw/control/supervisor.py:128" *)
  input bus_idle;
  (* src = "hw/control/supervisor.py:137" *)
  output busy;
  (* src = "hw/control/supervisor.py:134" *)
  output clear;
  reg clear = 1'h0;
  (* src = "amaranth/hdl/_ir.py:283" *)
  input clk;
  (* src = "hw/control/supervisor.py:158" *)
  output counting;
  (* src = "hw/control/supervisor.py:138" *)
  output done;
  (* src = "hw/control/supervisor.py:140" *)
  output draining;
  (* src = "hw/control/supervisor.py:139" *)
  output error;
  (* src = "amaranth/lib/wiring.py:1713" *)
  input [100:0] errors__0;
  (* src = "amaranth/lib/wiring.py:1713" *)
  input [100:0] errors__1;
  (* src = "amaranth/lib/wiring.py:1713" *)
  input [100:0] errors__2;
  (* src = "hw/control/supervisor.py:126" *)
  input finished;
  (* src = "hw/control/supervisor.py:143" *)
  output irq;
  reg irq = 1'h0;
  (* src = "hw/control/supervisor.py:131" *)
  input [1:0] irq_clear;
  (* src = "hw/control/supervisor.py:130" *)
  input [1:0] irq_enable;
  (* src = "hw/control/supervisor.py:142" *)
  output [1:0] irq_status;
  reg [1:0] irq_status = 2'h0;
  (* src = "hw/control/supervisor.py:127" *)
  input progress;
  (* src = "hw/control/supervisor.py:120" *)
  output [100:0] report;
  reg [100:0] report = 101'h00000000000000000000000000;
  (* src = "amaranth/hdl/_ir.py:283" *)
  input rst;
  (* src = "hw/control/supervisor.py:132" *)
  output run;
  (* src = "hw/control/supervisor.py:124" *)
  input soft_reset;
  (* src = "hw/control/supervisor.py:122" *)
  input start;
  (* src = "hw/control/supervisor.py:141" *)
  output start_refused;
  reg start_refused = 1'h0;
  (* src = "hw/control/supervisor.py:135" *)
  output started;
  (* src = "hw/control/supervisor.py:125" *)
  input [31:0] watchdog;

  (* src = "hw/control/supervisor.py:154" *)
  reg abandoned = 1'h0;
  reg abandoned_next;
  wire [3:0] add_1;
  wire and_1;
  wire and_2;
  wire and_3;
  wire and_4;
  wire and_5;
  wire and_6;
  wire and_7;
  wire and_8;
  wire and_9;
  wire and_10;
  wire and_11;
  wire and_12;
  wire and_13;
  wire and_14;
  wire and_15;
  wire and_16;
  wire and_17;
  wire and_18;
  wire and_19;
  wire and_20;
  wire [1:0] and_21;
  wire [1:0] and_22;
  wire [1:0] and_23;
  reg at_start = 0;  // runs each always @* once, also those of constants
  (* src = "hw/control/supervisor.py:153" *)
  reg begun = 1'h0;
  reg begun_next;
  reg clear_next;
  (* src = "hw/control/supervisor.py:151" *)
  reg [2:0] cleared = 3'h0;
  reg [2:0] cleared_next;
  wire eq_1;
  wire eq_2;
  wire eq_3;
  wire eq_4;
  wire eq_5;
  wire eq_6;
  wire eq_7;
  wire eq_8;
  wire eq_9;
  wire eq_10;
  wire eq_11;
  (* src = "hw/control/supervisor.py:179" *)
  reg error_event;
  (* src = "amaranth/lib/wiring.py:1713" *)
  wire errors__0_valid;
  (* src = "amaranth/lib/wiring.py:1713" *)
  wire errors__1_valid;
  (* src = "amaranth/lib/wiring.py:1713" *)
  wire errors__2_valid;
  (* src = "hw/control/supervisor.py:159" *)
  reg failed;
  (* src = "hw/control/supervisor.py:160" *)
  reg [100:0] failure;
  reg irq_next;
  reg [1:0] irq_status_next;
  (* src = "hw/control/supervisor.py:158" *)
  wire live;
  wire [2:0] mux_1;
  wire ne_1;
  wire ne_2;
  wire not_1;
  wire not_2;
  wire not_3;
  wire not_4;
  wire not_5;
  wire not_6;
  wire not_7;
  wire not_8;
  wire not_9;
  wire not_10;
  wire not_11;
  wire not_12;
  wire not_13;
  wire [1:0] not_14;
  wire [1:0] not_15;
  wire or_1;
  wire or_2;
  wire or_3;
  wire or_4;
  wire or_5;
  wire or_6;
  wire or_7;
  wire or_8;
  wire or_9;
  wire [1:0] or_10;
  wire [1:0] or_11;
  (* src = "hw/control/supervisor.py:233" *)
  wire ready;
  wire reduce_or_1;
  (* src = "hw/control/supervisor.py:152" *)
  reg [31:0] remaining = 32'd0;
  reg [31:0] remaining_next;
  reg [100:0] report_next;
  (* src = "hw/control/supervisor.py:120" *)
  wire report_valid;
  (* src = "hw/control/supervisor.py:150" *)
  reg resetting = 1'h0;
  reg resetting_next;
  (* src = "hw/control/supervisor.py:149" *)
  reg restart = 1'h0;
  reg restart_next;
  (* src = "hw/control/supervisor.py:179" *)
  reg signal;
  reg start_refused_next;
  (* enum_base_type = "State" *)
  (* enum_value_000 = "IDLE" *)
  (* enum_value_001 = "CLEARING" *)
  (* enum_value_010 = "RUNNING" *)
  (* enum_value_011 = "DRAINING" *)
  (* enum_value_100 = "DONE" *)
  (* enum_value_101 = "ERROR" *)
  (* src = "hw/control/supervisor.py:148" *)
  reg [2:0] state = 3'h0;
  reg [2:0] state_next;
  (* src = "hw/control/supervisor.py:255" *)
  wire stuck;
  wire [32:0] sub_1;

  assign eq_1 = state == 2'h2;
  assign eq_2 = state == 2'h3;
  assign counting = eq_1 | eq_2;
  assign ne_1 = watchdog != 1'h0;
  assign eq_3 = remaining == 1'h0;
  assign stuck = ne_1 & eq_3;
  assign or_1 = abort_request | abandoned;
  assign and_1 = counting & failed;
  assign not_1 = ~ report_valid;
  assign and_2 = and_1 & not_1;
  assign not_2 = ~ resetting;
  assign and_3 = and_2 & not_2;
  assign and_4 = bus_idle & resetting;
  assign and_5 = bus_idle & report_valid;
  assign not_3 = ~ error_event;
  assign and_6 = bus_idle & not_3;
  assign eq_4 = state == 1'h0;
  assign or_2 = eq_4 | done;
  assign eq_5 = state == 3'h5;
  assign or_3 = or_2 | eq_5;
  assign ready = bus_idle & or_3;
  assign and_7 = start & ready;
  assign not_4 = ~ soft_reset;
  assign and_8 = and_7 & not_4;
  assign not_5 = ~ abort_request;
  assign started = and_8 & not_5;
  assign run = state == 2'h2;
  assign done = state == 3'h4;
  assign draining = state == 2'h3;
  assign eq_6 = state == 1'h1;
  assign busy = counting | eq_6;
  assign eq_7 = state == 1'h1;
  assign eq_8 = state == 3'h5;
  assign or_4 = eq_7 | eq_8;
  assign eq_9 = state == 2'h3;
  assign or_5 = report_valid | resetting;
  assign and_9 = eq_9 & or_5;
  assign abort = or_4 | and_9;
  assign not_6 = ~ counting;
  assign or_6 = progress | not_6;
  assign ne_2 = remaining != 1'h0;
  assign sub_1 = remaining - 1'h1;
  assign eq_10 = state == 1'h1;
  assign not_7 = ~ resetting;
  assign and_10 = eq_10 & not_7;
  assign not_8 = ~ soft_reset;
  assign and_11 = and_10 & not_8;
  assign or_7 = abandoned | abort_request;
  assign and_12 = and_11 & or_7;
  assign and_13 = counting & failed;
  assign not_9 = ~ report_valid;
  assign and_14 = and_13 & not_9;
  assign not_10 = ~ resetting;
  assign and_15 = and_14 & not_10;
  assign eq_11 = cleared == 3'h4;
  assign not_11 = ~ soft_reset;
  assign and_16 = restart & not_11;
  assign mux_1 = and_16 ? 3'h2 : 3'h0;
  assign or_8 = resetting | soft_reset;
  assign add_1 = cleared + 1'h1;
  assign or_9 = error_event | finished;
  assign and_17 = bus_idle & resetting;
  assign and_18 = bus_idle & report_valid;
  assign not_12 = ~ error_event;
  assign and_19 = bus_idle & not_12;
  assign not_13 = ~ started;
  assign and_20 = start & not_13;
  assign not_14 = ~ irq_clear;
  assign and_21 = irq_status & not_14;
  assign or_10 = and_21 | { error_event, signal };
  assign not_15 = ~ irq_clear;
  assign and_22 = irq_status & not_15;
  assign or_11 = and_22 | { error_event, signal };
  assign and_23 = or_11 & irq_enable;
  assign reduce_or_1 = | and_23;

  always @(posedge clk) begin
    remaining <= remaining_next;  // hw/control/supervisor.py:152
    abandoned <= abandoned_next;  // hw/control/supervisor.py:154
    begun <= begun_next;  // hw/control/supervisor.py:153
    report <= report_next;  // hw/control/supervisor.py:120
    start_refused <= start_refused_next;  // hw/control/supervisor.py:141
    state <= state_next;  // hw/control/supervisor.py:148
    resetting <= resetting_next;  // hw/control/supervisor.py:150
    restart <= restart_next;  // hw/control/supervisor.py:149
    cleared <= cleared_next;  // hw/control/supervisor.py:151
    clear <= clear_next;  // hw/control/supervisor.py:134
    irq_status <= irq_status_next;  // hw/control/supervisor.py:142
    irq <= irq_next;  // hw/control/supervisor.py:143
  end

  (* src = "hw/control/supervisor.py:159" *)
  always @* begin
    if (at_start) begin end
    failed = 1'h0;
    if (or_1) begin
      failed = 1'h1;
    end
    if (stuck) begin
      failed = 1'h1;
    end
    if (errors__2_valid) begin
      failed = 1'h1;
    end
    if (errors__1_valid) begin
      failed = 1'h1;
    end
    if (errors__0_valid) begin
      failed = 1'h1;
    end
  end

  (* src = "hw/control/supervisor.py:160" *)
  always @* begin
    if (at_start) begin end
    failure = 101'h00000000000000000000000000;
    if (or_1) begin
      failure[8:1] = 8'h0b;
    end
    if (stuck) begin
      failure[8:1] = 8'h0a;
    end
    begin
        failure[76:73] = 4'h0;
    end
    if (errors__2_valid) begin
      failure = errors__2;
    end
    if (errors__1_valid) begin
      failure = errors__1;
    end
    if (errors__0_valid) begin
      failure = errors__0;
    end
  end

  (* src = "hw/control/supervisor.py:179" *)
  always @* begin
    if (at_start) begin end
    error_event = 1'h0;
    if (and_3) begin
      error_event = 1'h1;
    end
  end

  (* src = "hw/control/supervisor.py:179" *)
  always @* begin
    if (at_start) begin end
    signal = 1'h0;
    casez (state)
      3'h3:
          if (soft_reset) begin
          end else if (and_4) begin
          end else if (and_5) begin
          end else if (and_6) begin
            signal = 1'h1;
          end
      default:
          /* empty */;
    endcase
  end

  (* src = "hw/control/supervisor.py:152" *)
  always @* begin
    if (at_start) begin end
    remaining_next = remaining;
    if (or_6) begin
      remaining_next = watchdog;
    end else if (ne_2) begin
      remaining_next = sub_1[31:0];
    end
    if (rst) begin
      remaining_next = 32'd0;
    end
  end

  (* src = "hw/control/supervisor.py:154" *)
  always @* begin
    if (at_start) begin end
    abandoned_next = and_12;
    if (rst) begin
      abandoned_next = 1'h0;
    end
  end

  (* src = "hw/control/supervisor.py:153" *)
  always @* begin
    if (at_start) begin end
    begun_next = started;
    if (rst) begin
      begun_next = 1'h0;
    end
  end

  (* src = "hw/control/supervisor.py:120" *)
  always @* begin
    if (at_start) begin end
    report_next = report;
    if (and_15) begin
      report_next = failure;
      report_next[0] = 1'h1;
    end
    if (begun) begin
      report_next = 101'h00000000000000000000000000;
    end
    casez (state)
      3'h1:
          if (eq_11) begin
            if (or_8) begin
              report_next = 101'h00000000000000000000000000;
            end
          end
      default:
          /* empty */;
    endcase
    if (rst) begin
      report_next = 101'h00000000000000000000000000;
    end
  end

  (* src = "hw/control/supervisor.py:141" *)
  always @* begin
    if (at_start) begin end
    start_refused_next = start_refused;
    if (begun) begin
      start_refused_next = 1'h0;
    end
    casez (state)
      3'h1:
          if (eq_11) begin
            if (or_8) begin
              start_refused_next = 1'h0;
            end
          end
      default:
          /* empty */;
    endcase
    if (and_20) begin
      start_refused_next = 1'h1;
    end
    if (rst) begin
      start_refused_next = 1'h0;
    end
  end

  (* src = "hw/control/supervisor.py:148" *)
  always @* begin
    if (at_start) begin end
    state_next = state;
    casez (state)
      3'h0, 3'h4, 3'h5:
          if (soft_reset) begin
            state_next = 3'h3;
          end else if (started) begin
            state_next = 3'h1;
          end
      3'h1:
          if (eq_11) begin
            state_next = mux_1;
          end
      3'h2:
          if (soft_reset) begin
            state_next = 3'h3;
          end else if (or_9) begin
            state_next = 3'h3;
          end
      3'h3:
          if (soft_reset) begin
          end else if (and_17) begin
            state_next = 3'h1;
          end else if (and_18) begin
            state_next = 3'h5;
          end else if (and_19) begin
            state_next = 3'h4;
          end
      default:
          /* empty */;
    endcase
    if (rst) begin
      state_next = 3'h0;
    end
  end

  (* src = "hw/control/supervisor.py:150" *)
  always @* begin
    if (at_start) begin end
    resetting_next = resetting;
    casez (state)
      3'h0, 3'h4, 3'h5:
          if (soft_reset) begin
            resetting_next = 1'h1;
          end
      3'h1:
        begin
          if (soft_reset) begin
            resetting_next = 1'h1;
          end
          if (eq_11) begin
            resetting_next = 1'h0;
          end
        end
      3'h2:
          if (soft_reset) begin
            resetting_next = 1'h1;
          end
      3'h3:
          if (soft_reset) begin
            resetting_next = 1'h1;
          end
      default:
          /* empty */;
    endcase
    if (rst) begin
      resetting_next = 1'h0;
    end
  end

  (* src = "hw/control/supervisor.py:149" *)
  always @* begin
    if (at_start) begin end
    restart_next = restart;
    casez (state)
      3'h0, 3'h4, 3'h5:
          if (soft_reset) begin
          end else if (started) begin
            restart_next = 1'h1;
          end
      3'h1:
          if (soft_reset) begin
            restart_next = 1'h0;
          end
      3'h3:
          if (soft_reset) begin
          end else if (and_17) begin
            restart_next = 1'h0;
          end
      default:
          /* empty */;
    endcase
    if (rst) begin
      restart_next = 1'h0;
    end
  end

  (* src = "hw/control/supervisor.py:151" *)
  always @* begin
    if (at_start) begin end
    cleared_next = cleared;
    casez (state)
      3'h0, 3'h4, 3'h5:
          if (soft_reset) begin
          end else if (started) begin
            cleared_next = 3'h0;
          end
      3'h1:
          if (eq_11) begin
          end else if (bus_idle) begin
            cleared_next = add_1[2:0];
          end
      3'h3:
          if (soft_reset) begin
          end else if (and_17) begin
            cleared_next = 3'h0;
          end
      default:
          /* empty */;
    endcase
    if (rst) begin
      cleared_next = 3'h0;
    end
  end

  (* src = "hw/control/supervisor.py:134" *)
  always @* begin
    if (at_start) begin end
    clear_next = clear;
    casez (state)
      3'h1:
          if (eq_11) begin
            clear_next = 1'h0;
          end else if (bus_idle) begin
            clear_next = 1'h1;
          end
      default:
          /* empty */;
    endcase
    if (rst) begin
      clear_next = 1'h0;
    end
  end

  (* src = "hw/control/supervisor.py:142" *)
  always @* begin
    if (at_start) begin end
    irq_status_next = or_10;
    if (rst) begin
      irq_status_next = 2'h0;
    end
  end

  (* src = "hw/control/supervisor.py:143" *)
  always @* begin
    if (at_start) begin end
    irq_next = reduce_or_1;
    if (rst) begin
      irq_next = 1'h0;
    end
  end

  assign live = counting;
  assign error = report[0];
  assign errors__0_valid = errors__0[0];
  assign errors__1_valid = errors__1[0];
  assign errors__2_valid = errors__2[0];
  assign report_valid = report[0];
endmodule
